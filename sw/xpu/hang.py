"""The report on a device that does not move."""

from xpu_rtl.command.formats import Engine, Opcode
from xpu_rtl.csr.maps import CLUSTER

from .errors import HangError
from .platforms import engine_names

__all__ = ["hang_error"]

_PROGRESS = (("progress_semaphore", "progress_value"),)
#: Semaphores a command may wait for itself: (number, threshold) fields.
_INNER_WAITS = {
    Opcode.DMA_STORE: _PROGRESS, Opcode.DMA_STORE_ND: _PROGRESS,
    Opcode.DMA_LOAD: (), Opcode.DMA_LOAD_ND: (),
    **dict.fromkeys((Opcode.GEMM, Opcode.CONV),
                    (("a_semaphore", "a_value"), ("b_semaphore", "b_value"))),
}
_HEADER_WAITS = (("wait0_semaphore", "wait0_value"), ("wait1_semaphore", "wait1_value"))


def hang_error(work, cycles):
    """Return a ``HangError`` that describes the state of every engine."""
    states, lines = {}, []
    for name in engine_names(work.platform.config):
        states[name], text = _engine(work, Engine[name.upper()])
        lines.append(f"\n  {name}: {text}")
    lines.append(f"\n  control: {_control(work)}")
    operations = work.ring.operations
    first = operations[0].name if operations else "a reset"
    state = f"for {cycles} cycles" if work.platform.timed else "is possible"
    return HangError(
        f"no progress {state} in {first}, with {max(len(operations) - 1, 0)} later operations "
        f"waiting; engines:{''.join(lines)}\ndev.reset() restores service", engines=states)


def _engine(work, engine):
    """Return an engine's state, and the same in words."""
    # Here and not above: Amaranth takes a third of a second to import.
    from xpu_rtl.command.types import Activity

    def mine(command):
        return command.engine is engine

    read, ring = work.read, work.ring
    register = CLUSTER["engine_state"].unpack(read("engine_state", engine))
    index = read("engine_index", engine)
    command = ring.lookup(index)
    if command is None or not mine(command):
        index = command = None      # the last it began is complete
    state = {"activity": Activity(register["activity"]).name, "index": index, "command": command}
    parts = [state["activity"]]
    if command is not None:
        parts.append(f"last began command {index} ({command})")
    if register["waiting"]:
        state["semaphore"] = register["semaphore"]
        state["threshold"] = read("engine_threshold", engine)
        state["value"] = read("semaphore", register["semaphore"])
        parts.append(f"its next command waits until semaphore {state['semaphore']}, now "
                     f"{state['value']}, reaches {state['threshold']}")
    elif state["activity"] == "SEMAPHORE":
        # It waits within the command it began, or before it begins the next.
        for number, candidate in ring.candidates(index, mine):
            parts += [f"command {number} ({candidate.opcode.name}) waits for {wait}"
                      for wait in _waits(work, candidate, _INNER_WAITS[candidate.opcode])]
    return state, "; ".join(parts)


def _control(work):
    """What the command processor has in hand, in words."""
    index = (work.ring.read("issued") - 1) & 0xFFFF_FFFF
    command = work.ring.lookup(index)
    if command is None:
        return "has decoded nothing that is outstanding"
    parts = [f"last decoded command {index} ({command})"]
    if command.opcode is Opcode.NOP:
        parts += [f"it waits for {wait}" for wait in _waits(work, command, _HEADER_WAITS)]
    return "; ".join(parts)


def _waits(work, command, fields):
    return [f"semaphore {command[number]}, now {work.read('semaphore', command[number])}, "
            f"counted from {command[threshold]}"
            for number, threshold in fields if command[number]]
