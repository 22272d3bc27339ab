"""The register map. This file is the only place where an offset or a bit number is written."""

from .spec import Access, Field, Register, RegisterBlock

__all__ = ["CLUSTER", "ID", "MAX_RINGS", "MAX_SEMAPHORES", "PERF_ENGINES", "VERSION"]

ID = 0x3055_5058        #: "XPU0", little endian
VERSION = 0x0000_0100   #: 0.1.0: major 31:16, minor 15:8, patch 7:0

MAX_RINGS = 8
MAX_SEMAPHORES = 256
PERF_ENGINES = 8        #: numbered as ``Engine``


def _ro(name, doc, lsb=0, width=32):
    return Field(name=name, lsb=lsb, width=width, access=Access.RO, doc=doc)


def _rw(name, doc, lsb=0, width=32, init=0):
    return Field(name=name, lsb=lsb, width=width, access=Access.RW, doc=doc, init=init)


def _value(name, offset, doc, field=None, **kwargs):
    return Register(name=name, offset=offset, doc=doc,
                    fields=(field or _ro("value", doc),), **kwargs)


def _ring(name, offset, doc, *fields):
    return Register(name=f"ring_{name}", offset=0x400 + offset, doc=doc, fields=fields,
                    count=MAX_RINGS, stride=0x40)


def _window(name, offset, doc, *fields):
    return Register(name=f"window_{name}", offset=0x600 + offset, doc=doc, fields=fields,
                    count=MAX_RINGS, stride=0x40)


CLUSTER = RegisterBlock(name="cluster", doc="Control and status of a compute cluster.", registers=(
    _value("id", 0x000, "Identification, the bytes \"XPU0\"."),
    _value("version", 0x004, "Version of the hardware: major 31:16, minor 15:8, patch 7:0."),
    _value("contract_low", 0x008, "Hash of register map, command formats and configuration; the "
                                  "driver refuses hardware whose hash differs. Bits 31:0."),
    _value("contract_high", 0x00C, "Bits 63:32."),
    Register(name="control", offset=0x010, doc="Control.", fields=(
        Field(name="reset", lsb=0, access=Access.PULSE,
              doc="Stop everything, let bus transactions end, then reset rings, engines, "
                  "semaphores and scratchpad control (not the scratchpad's contents)."),
    )),
    Register(name="status", offset=0x014, doc="Status.", fields=(
        _ro("active", "A ring has commands that are not complete.", width=1),
        _ro("resetting", "A reset waits for bus transactions to end.", lsb=1, width=1),
        _ro("faulted", "A ring has stopped with a fault.", lsb=2, width=1),
    )),
    Register(name="irq_status", offset=0x018, doc="Causes of the interrupt.", fields=(
        Field(name="completion", lsb=0, width=MAX_RINGS, access=Access.W1C,
              doc="Ring i completed a FENCE with its interrupt bit set."),
        Field(name="fault", lsb=8, width=MAX_RINGS, access=Access.W1C,
              doc="Ring i stopped with a fault."),
    )),
    Register(name="irq_enable", offset=0x01C, doc="Mask of the interrupt; `irq` is high while an "
                                                  "enabled bit of irq_status is set.", fields=(
        _rw("completion", "As in irq_status.", width=MAX_RINGS),
        _rw("fault", "As in irq_status.", lsb=8, width=MAX_RINGS),
    )),
    _value("perf_cycles", 0x080, "Cycles in which a ring was active: from the doorbell on, until "
                                 "its last command is complete. Counts modulo 2**32, like all "
                                 "performance counters, and only in those cycles."),
    _value("bytes_read_low", 0x084, "Payload bytes the DMA engines have read from GM, bits 31:0."),
    _value("bytes_read_high", 0x088, "Bits 63:32."),
    _value("bytes_written_low", 0x08C, "Payload bytes the DMA engines have written to GM, bits "
                                       "31:0."),
    _value("bytes_written_high", 0x090, "Bits 63:32."),
    *(_value(f"perf_{name}", 0x100 + 0x20 * n, f"Active cycles per engine: {doc}",
             count=PERF_ENGINES)
      for n, (name, doc) in enumerate((
          ("idle", "no command."), ("busy", "moved or computed data."),
          ("semaphore", "waited for a semaphore, before or within a command."),
          ("memory", "waited for GM (tensor unit: for weights)."),
          ("bank_conflict", "waited for a scratchpad bank."),
          ("output", "waited for its output side.")))),
    _value("engine_index", 0x200, "Per engine: index of the command it last began.",
           count=PERF_ENGINES),
    Register(name="engine_state", offset=0x220, doc="Per engine: what it does now.",
             count=PERF_ENGINES, fields=(
        _ro("activity", "Activity in this cycle.", width=3),
        _ro("waiting", "Its next command waits for the semaphores of its header.", lsb=3, width=1),
        _ro("semaphore", "The header semaphore the next command waits for.", lsb=8, width=8),
    )),
    _value("engine_threshold", 0x240, "Per engine: the value the next command waits for.",
           count=PERF_ENGINES),
    _value("sm_stalls", 0x280, "Active cycles in which a scratchpad requester was held back by "
                               "another: 0 activations, 1 weights and parameters, 2 tensor output, "
                               "3 DMA writes, 4 DMA reads, 5 and on SIMD cores.", count=8),
    _ring("base_low", 0x00, "Ring memory in GM, 64-byte aligned. Write while the ring is idle.",
          _rw("value", "Address bits 31:0.")),
    _ring("base_high", 0x04, "Ring memory in GM.", _rw("value", "Address bits 63:32.")),
    _ring("size", 0x08, "Size of the ring.",
          _rw("log2_slots", "log2 of its 64-byte slots, 1 to 16.", width=5)),
    _ring("tail", 0x0C, "Doorbell: one past the last slot written by the host, modulo the ring's "
                        "slots.", _rw("slot", "Slot number.", width=16)),
    _ring("head", 0x10, "Progress of the fetch.",
          _ro("slot", "Next slot to be decoded; slots before it may be written again.", width=16)),
    _ring("completed", 0x14, "Completion.",
          _ro("sequence", "`sequence` of the last FENCE completed.")),
    _ring("issued", 0x18, "Commands decoded since reset.", _ro("count", "Modulo 2**32.")),
    _ring("fault", 0x1C, "Fault of the ring; it decodes nothing more until reset.",
          _ro("cause", "FaultCause; 0 while the ring works.", width=4),
          _ro("engine", "Engine that met it.", lsb=4, width=3)),
    _ring("fault_index", 0x20, "Index of the command that failed.", _ro("value", "Index.")),
    _ring("fault_address_low", 0x24, "Address the fault is about.", _ro("value", "Bits 31:0.")),
    _ring("fault_address_high", 0x28, "Address.", _ro("value", "Bits 63:32.")),
    _ring("fault_info", 0x2C, "More about the fault, see FaultCause.", _ro("value", "Value.")),
    _ring("fault_row", 0x30, "DMA: number of the row that failed within its command, loop 1 "
                             "running fastest; else 0.", _ro("value", "Row.")),
    _ring("control", 0x34, "Control of the ring.",
          Field(name="reset", lsb=0, access=Access.PULSE,
                doc="Give up the ring's commands, recover the engines that execute them, then "
                    "reset head, tail, issued, completed and fault; the ring works again. Other "
                    "rings, the semaphores and the ring's base, size and windows are left "
                    "alone."),
          _ro("resetting", "Such a reset is under way.", lsb=1, width=1)),
    _window("gm0_first", 0x00, "First window onto GM: pages of 4 KiB, both ends inclusive.",
            _rw("page", "Number of the page.")),
    _window("gm0_last", 0x04, "First window onto GM.",
            _rw("page", "Number of the page.", init=0xFFFF_FFFF)),
    _window("gm1_first", 0x08, "Second window onto GM.", _rw("page", "Number of the page.")),
    _window("gm1_last", 0x0C, "Second window onto GM.", _rw("page", "Number of the page.")),
    _window("sm_first", 0x10, "Window onto SM: lines of 64 bytes, both ends inclusive.",
            _rw("line", "Number of the line.", width=18)),
    _window("sm_last", 0x14, "Window onto SM.",
            _rw("line", "Number of the line.", width=18, init=(1 << 18) - 1)),
    _window("semaphores", 0x18, "Semaphores the ring may use, both ends inclusive.",
            _rw("first", "Number.", width=8), _rw("last", "Number.", lsb=8, width=8, init=255)),
    _window("permissions", 0x1C, "What the ring may do within its windows. Commands are fetched as "
                                 "reads of GM.",
            *(_rw(name, doc, lsb=n, width=1, init=init) for n, (name, doc, init) in enumerate((
                ("gm0_read", "Read GM in window 0.", 1), ("gm0_write", "Write it.", 1),
                ("gm1_read", "Read GM in window 1.", 0), ("gm1_write", "Write it.", 0),
                ("sm_read", "Read SM.", 1), ("sm_write", "Write it.", 1),
                ("wait", "Wait for semaphores.", 1), ("signal", "Add to them.", 1))))),
    _value("semaphore", 0x800, "Values of the semaphores.", count=MAX_SEMAPHORES),
))
