"""Parts whose clock stops while they have nothing to do."""

from amaranth import ClockDomain, DomainRenamer, ResetSignal, Signal

__all__ = ["add_gated"]


def add_gated(m, platform, name, component, *, awake, linger=32):
    """Add a submodule whose clock runs only while ``awake``, and ``linger`` cycles longer.

    A platform with ``get_clock_gate(m, name, enable) -> clock`` supplies the gate; without one the
    clock always runs. What the part does must be the same either way, so ``awake`` must be high in
    every cycle in which a register of the part would change for good; the cycles of ``linger`` let
    registers that follow something come to rest.

    Parameters
    ----------
    m : Module
        Where to add it.
    platform : object or None
        As given to ``elaborate``.
    name : str
        Of the submodule, and of its clock domain; parts of gated parts need names of their own.
    component : Elaboratable
        The part, in the domain ``sync``.
    awake : Value
        From registers of ``sync`` and outputs of the part; resets of the part included.
    """
    if not hasattr(platform, "get_clock_gate"):
        m.submodules[name] = component
        return
    rest = Signal(range(linger + 1), init=linger, name=f"{name}_rest")
    enable = Signal(name=f"{name}_awake")
    domain = ClockDomain(f"{name}_gated", local=True)
    m.domains += domain
    m.d.comb += [
        enable.eq(awake | (rest != 0) | ResetSignal()),
        domain.clk.eq(platform.get_clock_gate(m, name, enable)),
        domain.rst.eq(ResetSignal()),
    ]
    with m.If(awake):
        m.d.sync += rest.eq(linger)
    with m.Elif(rest != 0):
        m.d.sync += rest.eq(rest - 1)
    m.submodules[name] = DomainRenamer(domain.name)(component)
