"""The report on a device that does not move."""

from xpu_rtl.command.formats import Engine, Opcode
from xpu_rtl.csr.maps import CLUSTER

from .errors import HangError
from .platforms import ENGINES

__all__ = ["hang_error"]

#: Semaphores a running command may wait for itself: (number, threshold) fields.
_INNER_WAITS = {
    Opcode.DMA_STORE: (("progress_semaphore", "progress_value"),),
    Opcode.GEMM: (("a_semaphore", "a_value"), ("b_semaphore", "b_value")),
}


def hang_error(work, cycles):
    """Return a ``HangError`` that describes the state of every engine."""
    from xpu_rtl.command.types import Activity

    read, ring = work.read, work.ring
    engines, lines = {}, []
    for name in ENGINES:
        number = Engine[name.upper()]
        state = CLUSTER["engine_state"].unpack(read("engine_state", number))
        index = read("engine_index", number)
        command = ring.lookup(index)
        if command is not None and _engine(command.opcode) != number:
            command = None
        activity = Activity(state["activity"]).name
        info = {"activity": activity, "index": index, "command": command}
        text = f"{name}: {activity}"
        if command is not None:
            text += f", last began command {index} ({command})"
        waits = []
        if state["waiting"]:
            info["semaphore"], info["threshold"] = (state["semaphore"],
                                                    read("engine_threshold", number))
            info["value"] = read("semaphore", info["semaphore"])
            waits.append(f"its next command waits until semaphore {info['semaphore']}, now "
                         f"{info['value']}, reaches {info['threshold']}")
        elif command is not None and activity == "SEMAPHORE":
            for field, threshold in _INNER_WAITS.get(command.opcode, ()):
                if command[field]:
                    value = read("semaphore", command[field])
                    waits.append(f"{field} {command[field]}, now {value}, counted from "
                                 f"{command[threshold]}")
        engines[name] = info
        lines.append("; ".join([text, *waits]))
    first = ring.operations[0].name if ring.operations else "a reset"
    later = max(len(ring.operations) - 1, 0)
    state = f"for {cycles} cycles" if work.platform.timed else "is possible"
    message = (f"no progress {state} in {first}, with {later} later operations waiting; engines:"
               + "".join(f"\n  {line}" for line in lines) + "\ndev.reset() restores service")
    return HangError(message, engines=engines)


def _engine(opcode):
    return {Opcode.DMA_LOAD: Engine.LOAD, Opcode.DMA_STORE: Engine.STORE,
            Opcode.GEMM: Engine.TENSOR, Opcode.LAUNCH: Engine.SIMD}.get(opcode, Engine.CONTROL)
