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
    quick : str
        Regular expression of the tests of ``run.py --quick``.
    top : str
        ``module:Class`` of the component, made from the configuration; None for the whole cluster.
    """

    name: str
    config: str
    modules: tuple[str, ...]
    doc: str
    quick: str
    top: str | None = None


BENCHES = {bench.name: bench for bench in (
    Bench("scratchpad", "tiny", ("scratchpad.test_scratchpad",),
          "every requester with random traffic", "few_words|one_bank",
          "scratchpad.bench:ScratchpadBench"),
    Bench("dma", "tiny", ("dma.test_copies", "dma.test_faults", "dma.test_nd", "dma.test_streams"),
          "all DMA streams, scratchpad and bus", "both_directions_with|on_all_streams|bad_index",
          "dma.bench:DmaBench"),
    Bench("tensor", "tiny", ("tensor.test_products", "tensor.test_requantize"),
          "tensor unit and scratchpad", "random_products$|no_idle|many_outputs",
          "tensor.bench:TensorBench"),
    Bench("command", "tiny", ("command.test_streams", "command.test_faults"),
          "command processor with engines in Python", "_engines$|malformed",
          "command.bench:CommandBench"),
    Bench("cluster", "tiny", ("cluster.test_operators", "cluster.test_faults"),
          "the whole cluster under the driver, random stalls, faults",
          "queued|profile|registers|read_error"),
)}
