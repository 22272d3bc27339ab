"""Which commands the hardware refuses, and how it says so."""

from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import ALL_FORMATS, HEADER, Engine, FaultCause, Opcode

__all__ = ["Fault", "check_copy", "check_gemm", "check_slot"]

_FORMATS = {opcode: fmt for fmt in ALL_FORMATS for opcode in fmt.opcodes}


class Fault(Exception):
    """A command failed. ``address`` and ``info`` as the cause says."""

    def __init__(self, cause, engine, address=0, info=0):
        super().__init__(f"{cause.name} in {engine.name}")
        self.cause, self.engine, self.address, self.info = cause, engine, address, info


def _refuse(engine, fmt, name):
    part = HEADER if name in HEADER.lsb else fmt
    raise Fault(FaultCause.BAD_FIELD, engine, info=part.lsb[name])


def check_slot(config, data):
    """Return the format of the command that begins in a slot, or raise ``Fault``."""
    header = HEADER.unpack(int.from_bytes(data, "little"))
    fmt = _FORMATS.get(header["opcode"])
    if fmt is None or header["opcode"] == Opcode.LAUNCH:
        raise Fault(FaultCause.BAD_OPCODE, Engine.CONTROL)
    if header["slots"] != fmt.slots:
        raise Fault(FaultCause.BAD_SLOTS, Engine.CONTROL)
    for name in ("wait0_semaphore", "wait1_semaphore", "signal0_semaphore", "signal1_semaphore"):
        if header[name] >= config.semaphores:
            raise Fault(FaultCause.BAD_SEMAPHORE, Engine.CONTROL)
    if header["reserved0"]:
        _refuse(Engine.CONTROL, fmt, "reserved0")
    if header["interrupt"] and header["opcode"] != Opcode.FENCE:
        _refuse(Engine.CONTROL, fmt, "interrupt")
    return fmt


def _check_semaphores(config, command, engine, names):
    for name in names:
        if command[name] >= config.semaphores:
            raise Fault(FaultCause.BAD_SEMAPHORE, engine)


def check_copy(config, command, engine):
    """Return (SM offset, GM offset) of a copy's first row, or raise ``Fault``."""
    fmt = command.format
    _check_semaphores(config, command, engine, ("progress_semaphore",))
    if not 1 <= command["row_bytes"] < 1 << 24:
        _refuse(engine, fmt, "row_bytes")
    if not command["rows"]:
        _refuse(engine, fmt, "rows")
    if command["reserved1"]:
        _refuse(engine, fmt, "reserved1")
    load = command.opcode is Opcode.DMA_LOAD
    ends = {"source": Space.GM if load else Space.SM,
            "destination": Space.SM if load else Space.GM}
    offsets = {}
    for name, space in ends.items():
        value = command[name]
        try:
            address = SystemAddress.decode(value)
        except ValueError:
            raise Fault(FaultCause.BAD_ADDRESS, engine, address=value) from None
        if address.space is not space or address.cluster or address.card:
            raise Fault(FaultCause.BAD_ADDRESS, engine, address=value)
        offsets[space] = address.offset
        if space is Space.SM:
            for row in (0, command["rows"] - 1):
                first = address.offset + row * command[f"{name}_pitch"]
                if first < 0 or first + command["row_bytes"] > config.sm_bytes:
                    raise Fault(FaultCause.BAD_ADDRESS, engine,
                                address=value + row * command[f"{name}_pitch"] & (1 << 64) - 1)
    return offsets[Space.SM], offsets[Space.GM]


def check_gemm(config, command):
    """Raise ``Fault`` if the tensor unit would refuse the command."""
    engine, fmt = Engine.TENSOR, command.format
    _check_semaphores(config, command, engine, ("a_semaphore", "b_semaphore", "out_semaphore",
                                                "release_semaphore"))
    lanes, word = config.lanes, config.word_bytes
    for name in ("rows", "columns", "depth", "tile_rows"):
        if not command[name]:
            _refuse(engine, fmt, name)
    if not 1 <= command["tile_blocks"] <= config.tile_blocks:
        _refuse(engine, fmt, "tile_blocks")
    if command["tile_rows"] * command["tile_blocks"] > config.acc_rows:
        _refuse(engine, fmt, "tile_rows")
    blocks = -(-command["columns"] // lanes)
    one_tile = command["rows"] <= command["tile_rows"] and blocks <= command["tile_blocks"]
    for name in ("accumulate", "hold"):
        if command[name] and not one_tile:
            _refuse(engine, fmt, name)
    if command["out_type"] > 2:
        _refuse(engine, fmt, "out_type")
    for name in ("reserved2", "reserved3"):
        if command[name]:
            _refuse(engine, fmt, name)
    size = 4 if command["out_type"] == 0 else 1
    rows, depth = command["rows"], command["depth"]
    spans = {
        "a": (rows - 1) * command["a_pitch"] + -(-depth // word) * word,
        "b": ((depth - 1) * command["b_pitch"] + (blocks - 1) * command["b_block_pitch"] + word),
    }
    if not command["hold"]:
        spans["out"] = (rows - 1) * command["out_pitch"] + blocks * lanes * size
        if command["has_bias"]:
            spans["bias"] = 4 * blocks * lanes
        if command["scale_vector"]:
            spans["scale"] = 4 * blocks * lanes
    if command["b_zero_point_vector"]:
        spans["b_zero_point"] = blocks * lanes
    for name, span in spans.items():
        address = command[f"{name}_address"]
        if address % word or address + span > config.sm_bytes:
            raise Fault(FaultCause.BAD_ADDRESS, engine,
                        address=SystemAddress(Space.SM, address).encode())
    for name in ("a_pitch", "b_pitch", "b_block_pitch", "out_pitch"):
        if command[name] % word:
            raise Fault(FaultCause.BAD_ADDRESS, engine, address=command[name])
