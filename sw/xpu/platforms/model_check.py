"""Which commands the hardware refuses, and how it says so."""

from xpu_rtl.address_map import OFFSET_WIDTH, SPACE_LSB, Space
from xpu_rtl.command.formats import ALL_FORMATS, HEADER, Engine, FaultCause, Opcode

__all__ = ["Fault", "check_copy", "check_gemm", "check_slot"]

_DECERR = 3      #: how the bus answers outside its memory
_FORMATS = {opcode: fmt for fmt in ALL_FORMATS for opcode in fmt.opcodes}


class Fault(Exception):
    """A command failed. ``address`` and ``info`` as the cause says."""

    def __init__(self, cause, engine, address=0, info=0):
        super().__init__(f"{cause.name} in {engine.name}")
        self.cause, self.engine, self.address, self.info = cause, engine, address, info


def _bad_field(engine, fmt, name):
    return Fault(FaultCause.BAD_FIELD, engine, info=fmt.lsb[name])


def check_slot(config, data):
    """Return the format of the command that begins in a slot, or raise ``Fault``."""
    header = HEADER.unpack(int.from_bytes(data, "little"))
    fmt = _FORMATS.get(header["opcode"])
    if fmt is None or header["opcode"] == Opcode.LAUNCH:
        raise Fault(FaultCause.BAD_OPCODE, Engine.CONTROL)
    if header["slots"] != fmt.slots:
        raise Fault(FaultCause.BAD_SLOTS, Engine.CONTROL)
    if header["reserved0"]:
        raise _bad_field(Engine.CONTROL, HEADER, "reserved0")
    for name in ("wait0_semaphore", "wait1_semaphore", "signal0_semaphore", "signal1_semaphore"):
        if header[name] >= config.semaphores:
            raise Fault(FaultCause.BAD_SEMAPHORE, Engine.CONTROL, info=HEADER.lsb[name])
    return fmt


def _check_semaphores(config, command, engine, names):
    for name in names:
        if command[name] >= config.semaphores:
            raise Fault(FaultCause.BAD_SEMAPHORE, engine, info=command.format.lsb[name])


def check_copy(config, command, engine, memory_bytes):
    """Return (rows that are good, ``Fault`` of the next or ``None``).

    Rows are checked one by one, so the good rows before a bad one still move.
    """
    fmt = command.format
    if not 1 <= command["row_bytes"] < 1 << 24:
        return 0, _bad_field(engine, fmt, "row_bytes")
    if not command["rows"]:
        return 0, _bad_field(engine, fmt, "rows")
    if command["reserved1"]:
        return 0, _bad_field(engine, fmt, "reserved1")
    try:
        _check_semaphores(config, command, engine, ("progress_semaphore",))
    except Fault as fault:
        return 0, fault
    last = command["rows"] - 1
    if (_row_fault(config, command, engine, memory_bytes, 0) is None
            and _row_fault(config, command, engine, memory_bytes, last) is None):
        return command["rows"], None        # rows lie between the first and the last
    for row in range(command["rows"]):
        fault = _row_fault(config, command, engine, memory_bytes, row)
        if fault is not None:
            return row, fault
    raise AssertionError("a row was bad and is not")


def _row_fault(config, command, engine, memory_bytes, row):
    load = command.opcode is Opcode.DMA_LOAD
    row_bytes, bus_address = command["row_bytes"], None
    for name in ("source", "destination"):
        address = command[name] + row * command[f"{name}_pitch"] & (1 << 64) - 1
        in_gm = (name == "source") == load
        size = 1 << OFFSET_WIDTH if in_gm else config.sm_bytes
        offset = address - (Space.GM if in_gm else Space.SM << SPACE_LSB)
        if not 0 <= offset <= size - row_bytes:
            return Fault(FaultCause.BAD_ADDRESS, engine, address=address)
        if in_gm and offset + row_bytes > memory_bytes:
            bus_address = max(offset & -config.bus_bytes, memory_bytes)
    if bus_address is not None:
        cause = FaultCause.BUS_READ if load else FaultCause.BUS_WRITE
        return Fault(cause, engine, address=bus_address, info=_DECERR)
    return None


def check_gemm(config, command):
    """Raise ``Fault`` if the tensor unit would refuse the command."""
    engine, fmt = Engine.TENSOR, command.format
    _check_semaphores(config, command, engine, ("a_semaphore", "b_semaphore", "out_semaphore",
                                                "release_semaphore"))
    lanes, word = config.lanes, config.word_bytes
    for name in ("rows", "columns", "depth", "tile_rows"):
        if not command[name]:
            raise _bad_field(engine, fmt, name)
    if not 1 <= command["tile_blocks"] <= config.tile_blocks:
        raise _bad_field(engine, fmt, "tile_blocks")
    if command["tile_rows"] * command["tile_blocks"] > config.acc_rows:
        raise _bad_field(engine, fmt, "tile_rows")
    blocks = -(-command["columns"] // lanes)
    one_tile = command["rows"] <= command["tile_rows"] and blocks <= command["tile_blocks"]
    for name in ("accumulate", "hold"):
        if command[name] and not one_tile:
            raise _bad_field(engine, fmt, name)
    if command["out_type"] > 2:
        raise _bad_field(engine, fmt, "out_type")
    for name in ("reserved2", "reserved3"):
        if command[name]:
            raise _bad_field(engine, fmt, name)
    size = 4 if command["out_type"] == 0 else 1
    rows, depth = command["rows"], command["depth"]
    # Operands in the scratchpad: rows, bytes from row to row, bytes of a row.
    spans = {
        "a": (rows, command["a_pitch"], -(-depth // word) * word),
        "b": (depth, command["b_pitch"], (blocks - 1) * command["b_block_pitch"] + word),
    }
    if not command["hold"]:
        spans["out"] = rows, command["out_pitch"], blocks * lanes * size
        if command["has_bias"]:
            spans["bias"] = 1, 0, 4 * blocks * lanes
        if command["scale_vector"]:
            spans["scale"] = 1, 0, 4 * blocks * lanes
    if command["b_zero_point_vector"]:
        spans["b_zero_point"] = 1, 0, blocks * lanes
    for name in spans:
        address = command[f"{name}_address"]
        if address % word or address >= config.sm_bytes:
            raise Fault(FaultCause.BAD_ADDRESS, engine, address=address)
    for name in ("a_pitch", "b_pitch", "b_block_pitch", "out_pitch"):
        if command[name] % word:
            raise Fault(FaultCause.BAD_ADDRESS, engine, address=command[name])
    for name, (count, pitch, row_bytes) in spans.items():
        _check_span(config, command[f"{name}_address"], count, pitch, row_bytes)


def _check_span(config, address, rows, pitch, row_bytes):
    """The hardware notices rows that leave the scratchpad when it gets there."""
    if address + (rows - 1) * pitch + row_bytes <= config.sm_bytes:
        return
    last_good = config.sm_bytes - row_bytes - address
    row = last_good // pitch + 1 if last_good >= 0 else 0
    raise Fault(FaultCause.BAD_ADDRESS, Engine.TENSOR,
                address=max(address + row * pitch, config.sm_bytes))
