"""What can be wrong with a copy command before a row of it moves."""

from amaranth import Mux, Signal

from ..address_map import CLUSTER_LSB, Space
from ..command.formats import DMA_LOOPS, DMA_ND, DmaMode, FaultCause
from ..command.windows import semaphore_allowed
from .types import BYTES_WIDTH

__all__ = ["command_checks"]


def command_checks(m, config, issued, windows, mode_is, *, long, signal):
    """Return ``[(cause, info, place, bad)]`` of an ``IssuedCommand(DMA_ND)``; the first wins.

    ``place`` says what the report's address holds: the address of "source", "destination" or
    "index", the number of the "semaphore", or None for 0. ``bad`` is an expression to be used once.
    ``mode_is``: one-bit signals by ``DmaMode``; ``long``: the command has the fields of DMA_ND;
    ``signal``: it signals its progress semaphore, else it waits for it.
    """
    command = issued.command
    allowed = Signal(name="semaphore_allowed")
    listed = Signal(name="mode_is_listed")
    broken = Signal(name="element_broken")      # row_bytes is no multiple, or there is no such size
    with m.Switch(issued.ring):
        for ring in range(config.rings):
            with m.Case(ring):
                m.d.comb += allowed.eq(semaphore_allowed(
                    windows[ring], command.progress_semaphore, signal=signal))
    element = command.element_log2
    m.d.comb += [
        listed.eq(mode_is[DmaMode.GATHER] | mode_is[DmaMode.SCATTER]),
        broken.eq((element[0] & command.row_bytes[0])
                  | (element[1] & (element[0] | (command.row_bytes[:2] != 0)))),
    ]
    fields = [
        ("row_bytes", (command.row_bytes == 0) | (command.row_bytes[BYTES_WIDTH:] != 0)),
        ("rows", command.rows == 0),
        ("reserved1", command.reserved1 != 0),
        ("mode", long & (command.mode > DmaMode.SCATTER)),
        ("element_log2", long & Mux(mode_is[DmaMode.TRANSPOSE], broken, element != 0)),
        ("reserved2", long & (command.reserved2 != 0)),
        ("reserved3", long & (command.reserved3 != 0)),
        *((f"count{n}", long & (command[f"count{n}"] == 0)) for n in range(2, DMA_LOOPS + 1)),
        ("reserved4", long & (command.reserved4 != 0)),
        ("x_limit", mode_is[DmaMode.CLIP] & command.x_limit[31]),
    ]
    high = CLUSTER_LSB - 32
    return [
        *((FaultCause.BAD_FIELD, DMA_ND.lsb[name], None, bad) for name, bad in fields),
        (FaultCause.BAD_SEMAPHORE, DMA_ND.lsb["progress_semaphore"], None,
         command.progress_semaphore >= config.semaphores),
        (FaultCause.PROTECTION, Space.SEMAPHORE + (16 if signal else 0), "semaphore", ~allowed),
        (FaultCause.BAD_ADDRESS, 0, "source",
         ~mode_is[DmaMode.FILL] & (command.source_high[high:] != 0)),
        (FaultCause.BAD_ADDRESS, 0, "destination", command.destination_high[high:] != 0),
        (FaultCause.BAD_ADDRESS, 0, "index", listed & (command.index_high[high:] != 0)),
        (FaultCause.BAD_FIELD, DMA_ND.lsb["index_low"], None,
         listed & (command.index_low[:2] != 0)),
    ]
