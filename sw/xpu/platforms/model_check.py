"""Which commands the hardware refuses, and how it says so."""

from xpu_rtl.address_map import PAGE_BYTES
from xpu_rtl.command.formats import ALL_FORMATS, HEADER, LAUNCH, Engine, FaultCause, Opcode

__all__ = ["Fault", "bad_field", "check_launch", "check_semaphore", "check_slot"]

_STREAMED = (Opcode.DMA_LOAD, Opcode.DMA_STORE, Opcode.DMA_LOAD_ND, Opcode.DMA_STORE_ND)
_FORMATS = {opcode: fmt for fmt in ALL_FORMATS for opcode in fmt.opcodes}


class Fault(Exception):
    """A command failed. ``address`` and ``info`` as the cause says; ``row`` of a DMA command."""

    def __init__(self, cause, engine, address=0, info=0, row=0):
        super().__init__(f"{cause.name} in {engine.name}")
        self.cause, self.engine, self.address, self.info = cause, engine, address, info
        self.row = row


def bad_field(engine, fmt, name):
    return Fault(FaultCause.BAD_FIELD, engine, info=fmt.lsb[name])


def check_slot(config, data, windows):
    """Return the format of the command that begins in a slot, or raise ``Fault``."""
    header = HEADER.unpack(int.from_bytes(data, "little"))
    fmt = _FORMATS.get(header["opcode"])
    if fmt is None or (header["opcode"] == Opcode.LAUNCH and not config.simd_cores):
        raise Fault(FaultCause.BAD_OPCODE, Engine.CONTROL)
    if header["slots"] != fmt.slots:
        raise Fault(FaultCause.BAD_SLOTS, Engine.CONTROL)
    if header["stream"] >= (config.dma_streams if header["opcode"] in _STREAMED else 1):
        raise bad_field(Engine.CONTROL, HEADER, "stream")
    if header["reserved0"]:
        raise bad_field(Engine.CONTROL, HEADER, "reserved0")
    names = ("wait0_semaphore", "wait1_semaphore", "signal0_semaphore", "signal1_semaphore")
    for name in names:
        if header[name] >= config.semaphores:
            raise Fault(FaultCause.BAD_SEMAPHORE, Engine.CONTROL, info=HEADER.lsb[name])
    for name in names:
        check_semaphore(windows, Engine.CONTROL, header[name], name.startswith("signal"))
    return fmt


def check_launch(config, command):
    """Raise the ``Fault`` of a LAUNCH whose fields are wrong, the lowest one first."""
    for name, wrong in (("entry", command["entry"] % 4),
                        ("window_low", command["window_low"] % PAGE_BYTES),
                        ("clusters", command["clusters"] != 1),
                        ("cores", not 1 <= command["cores"] <= config.simd_cores),
                        ("reserved17", command["reserved17"])):
        if wrong:
            raise bad_field(Engine.SIMD, LAUNCH, name)


def check_semaphore(windows, engine, number, signal):
    fault = windows.semaphore_fault(number, signal)
    if fault is not None:
        raise Fault(fault[0], engine, *fault[1:])
