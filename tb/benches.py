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
    doc : str
        One line.
    top : str
        ``module:Class`` of the component, made from the configuration; None for the whole cluster.
    """

    name: str
    config: str
    modules: tuple[str, ...]
    doc: str
    top: str | None = None


BENCHES = {bench.name: bench for bench in (
    Bench("cluster", "tiny", ("cluster.test_operators", "cluster.test_faults"),
          "the whole cluster under the driver, random stalls, faults"),
    Bench("scratchpad", "tiny", ("scratchpad.test_scratchpad",),
          "every requester with random traffic", "scratchpad.bench:ScratchpadBench"),
)}
