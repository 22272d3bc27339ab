"""Parts of a design that are there several times, and are written once."""

from amaranth import ClockSignal, Const, Instance, ResetInserter, ResetSignal, Value
from amaranth.lib.wiring import In, Out

__all__ = ["instance_of", "port_widths", "ports_of", "shared"]


def _members(component):
    """Names, directions and signals of a component's ports; constants are none."""
    for path, member, value in component.signature.flatten(component):
        signal = Value.cast(value)
        if not isinstance(signal, Const) and len(signal):
            yield "__".join(map(str, path)), member.flow, signal


def ports_of(component):
    """The ports of a component as ``rtlil.convert`` takes them."""
    return {name: (signal, None) for name, _, signal in _members(component)}


def port_widths(component):
    """Names of the ports of the module, but its clock: ``(inputs, outputs)`` with their widths."""
    members = list(_members(component))
    inputs, outputs = ({name: len(signal) for name, flow, signal in members if flow == direction}
                       for direction in (In, Out))
    return {"rst": 1} | inputs, outputs


def instance_of(component, name, reset=0):
    """An instance of the module ``name``, made of an equal component, in the place of one."""
    return Instance(name, i_clk=ClockSignal(), i_rst=ResetSignal() | reset, **{
        f"{'i' if flow == In else 'o'}_{port}": signal
        for port, flow, signal in _members(component)})


def shared(component, name, platform, *, reset):
    """A component with a reset of its own that shares its module with equal ones.

    Amaranth writes a module for each instance, and elaborates each. A platform with
    ``get_shared(component, name, reset)`` supplies an instance of a module that is written once;
    without one this is ``ResetInserter(reset)(component)``.

    Parameters
    ----------
    component : wiring.Component
        The part, in the domain ``sync``. Components shared by a name must be equal.
    name : str
        Of the module.
    platform : object or None
        As given to ``elaborate``.
    reset : Value
        Resets it, beside the domain's reset.
    """
    if hasattr(platform, "get_shared"):
        return platform.get_shared(component, name, reset)
    return ResetInserter(reset)(component)
