"""What the fault registers of a ring say."""

from xpu_rtl.command.formats import Engine, FaultCause

__all__ = ["fault_of"]


async def fault_of(ctx, rig, ring=0):
    """The fault of a ``CommandRig``'s ring as a dictionary."""
    read = rig.registers.read
    state = await read(ctx, "ring_fault", ring)
    return {
        "cause": FaultCause(state["cause"]), "engine": Engine(state["engine"]),
        "index": await read(ctx, "ring_fault_index", ring),
        "address": await read(ctx, "ring_fault_address_low", ring)
        | await read(ctx, "ring_fault_address_high", ring) << 32,
        "info": await read(ctx, "ring_fault_info", ring),
        "row": await read(ctx, "ring_fault_row", ring),
    }
