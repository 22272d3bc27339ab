"""Which commands the hardware refuses, and how it says so."""

from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import ALL_FORMATS, HEADER, Engine, FaultCause, Opcode

from .model_windows import WRITE

__all__ = ["Fault", "check_gemm", "check_slot"]

_STREAMED = (Opcode.DMA_LOAD, Opcode.DMA_STORE, Opcode.DMA_LOAD_ND, Opcode.DMA_STORE_ND)
_FORMATS = {opcode: fmt for fmt in ALL_FORMATS for opcode in fmt.opcodes}


class Fault(Exception):
    """A command failed. ``address`` and ``info`` as the cause says; ``row`` of a DMA command."""

    def __init__(self, cause, engine, address=0, info=0, row=0):
        super().__init__(f"{cause.name} in {engine.name}")
        self.cause, self.engine, self.address, self.info = cause, engine, address, info
        self.row = row


def _bad_field(engine, fmt, name):
    return Fault(FaultCause.BAD_FIELD, engine, info=fmt.lsb[name])


def check_slot(config, data, windows):
    """Return the format of the command that begins in a slot, or raise ``Fault``."""
    header = HEADER.unpack(int.from_bytes(data, "little"))
    fmt = _FORMATS.get(header["opcode"])
    if fmt is None or header["opcode"] == Opcode.LAUNCH:
        raise Fault(FaultCause.BAD_OPCODE, Engine.CONTROL)
    if header["slots"] != fmt.slots:
        raise Fault(FaultCause.BAD_SLOTS, Engine.CONTROL)
    if header["stream"] >= (config.dma_streams if header["opcode"] in _STREAMED else 1):
        raise _bad_field(Engine.CONTROL, HEADER, "stream")
    if header["reserved0"]:
        raise _bad_field(Engine.CONTROL, HEADER, "reserved0")
    names = ("wait0_semaphore", "wait1_semaphore", "signal0_semaphore", "signal1_semaphore")
    for name in names:
        if header[name] >= config.semaphores:
            raise Fault(FaultCause.BAD_SEMAPHORE, Engine.CONTROL, info=HEADER.lsb[name])
    for name in names:
        _check_semaphore(windows, Engine.CONTROL, header[name], name.startswith("signal"))
    return fmt


def _check_semaphore(windows, engine, number, signal):
    fault = windows.semaphore_fault(number, signal)
    if fault is not None:
        raise Fault(fault[0], engine, *fault[1:])


def _check_semaphores(config, command, engine, names):
    for name in names:
        if command[name] >= config.semaphores:
            raise Fault(FaultCause.BAD_SEMAPHORE, engine, info=command.format.lsb[name])


def check_gemm(config, command, windows):
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
    if command["out_pitch"] >= config.sm_bytes and rows > 1 and "out" in spans:
        raise Fault(FaultCause.BAD_ADDRESS, engine, address=command["out_pitch"])
    for name in ("a_semaphore", "b_semaphore", "out_semaphore", "release_semaphore"):
        _check_semaphore(windows, engine, command[name], name[0] not in "ab")
    for name in spans:
        address, write = command[f"{name}_address"], name == "out"
        if not windows.sm_allowed(address, word, write):
            raise Fault(FaultCause.PROTECTION, engine, address, Space.SM + WRITE * write)
    for name, (count, pitch, row_bytes) in spans.items():
        _check_span(config, windows, command[f"{name}_address"], count, pitch, row_bytes,
                    name == "out")


def _check_span(config, windows, address, rows, pitch, row_bytes, write):
    """The hardware notices rows that leave the window or the scratchpad when it gets there."""
    limit = min(config.sm_bytes, windows.sm_end)
    if address + (rows - 1) * pitch + row_bytes <= limit:
        return
    last_good = limit - row_bytes - address
    row = last_good // pitch + 1 if last_good >= 0 else 0
    address = max(address + row * pitch, limit)
    if address < config.sm_bytes:
        raise Fault(FaultCause.PROTECTION, Engine.TENSOR, address, Space.SM + WRITE * write)
    raise Fault(FaultCause.BAD_ADDRESS, Engine.TENSOR, address=address)
