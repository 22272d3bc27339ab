"""The testbenches: what each one builds, and the cocotb modules that test it."""

from dataclasses import dataclass

__all__ = ["BENCHES", "Bench"]


@dataclass(frozen=True)
class Bench:
    """One Verilator build and the cocotb modules run on it.

    Parameters
    ----------
    name : str
        Name for ``make sim TB=name``.
    config : str
        Configuration.
    modules : tuple of str
        cocotb test modules, importable from ``tb/``.
    top : callable
        Configuration to component; None for the whole cluster.
    doc : str
        One line.
    """

    name: str
    config: str
    modules: tuple[str, ...]
    doc: str
    top: object = None


BENCHES = {bench.name: bench for bench in (
    Bench("cluster", "tiny", ("cluster.test_operators", "cluster.test_faults"),
          "the whole cluster under the driver, random stalls, faults"),
)}
