"""The valid flags of a pipeline that never stalls."""

from amaranth import Cat, Signal

__all__ = ["Valids"]


class Valids:
    """A flag per stage, reset to zero, moving on every cycle.

    Parameters
    ----------
    m : Module
        Where the flags are added.
    valid : Value
        Something enters.
    stages : int
        Length of the pipeline.

    Attributes
    ----------
    enables : list of Value
        ``enables[s]``: the registers of stage s + 1 take something in this cycle.
    last, busy : Value
        Something leaves; something is inside.
    """

    def __init__(self, m, valid, stages):
        flags = Signal(stages, name="stage_valid")
        m.d.sync += flags.eq(Cat(valid, flags))
        self.enables = [valid, *flags[:-1]]
        self.last, self.busy = flags[-1], flags.any()
