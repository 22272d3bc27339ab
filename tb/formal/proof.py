"""What a proof consists of."""

from dataclasses import dataclass, field

from .mutate import Edit

__all__ = ["Edit", "Mutant", "Proof"]


@dataclass(frozen=True)
class Mutant:
    """A seeded bug that the proof has to refute with a trace from reset.

    ``edit`` changes the design. ``slow`` ones are left out of the quick set. ``incremental``: as of
    ``Proof``.
    """

    name: str
    edit: Edit
    slow: bool = False
    incremental: bool = False


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A proved property.

    Parameters
    ----------
    name : str
        Unique.
    build : str
        Function of the proof's module that returns its ``Bench``. It imports the design itself,
        after the edits.
    arguments : dict
        Of ``build``.
    claim : str
        The property, one line.
    assumes : str
        What the surroundings must do, one line.
    method : str
        "induction": holds for ever. "bmc": holds for the first ``depth`` cycles.
    depth : int
        Cycles of the induction, or of the bounded check. Mutants are searched to ``mutant_depth``.
    edits : tuple of Edit
        Sizes made small.
    registers : bool
        Memories become registers for the solver (small ones: faster), else arrays.
    incremental : bool
        The solver keeps what it learned in a step for the next (usually slower).
    slow : bool
        Not in the quick set.
    """

    name: str
    build: str
    claim: str
    assumes: str = "none"
    method: str = "induction"
    depth: int = 1
    mutant_depth: int = 12
    arguments: dict = field(default_factory=dict)
    edits: tuple = ()
    mutants: tuple = ()
    registers: bool = True
    incremental: bool = False
    slow: bool = False

    def __post_init__(self):
        if self.method not in ("induction", "bmc"):
            raise ValueError(f"method must be induction or bmc, not {self.method!r}")
