"""The functional model: ring commands executed in order by NumPy, bit-exact and without time."""

import time

import numpy as np

from xpu_rtl.command.formats import SLOT_BYTES, Engine, FaultCause, Opcode
from xpu_rtl.configs import get_config
from xpu_rtl.contract import contract_hash
from xpu_rtl.csr import maps
from xpu_rtl.csr.maps import CLUSTER
from xpu_rtl.csr.spec import Access

from ..commands import decode
from .base import Platform, RegisterAccessError
from .model_check import Fault, check_slot
from .model_engines import Blocked, ModelEngines
from .model_windows import PAGE_BYTES, Windows

__all__ = ["ModelPlatform"]

_RUN_SECONDS = 0.1     #: ``run`` returns after about so long, so that callers stay responsive
_SLVERR, _DECERR = 2, 3
_SEMAPHORE_ACTIVITY = 2


class _Ring:
    """State of one ring."""

    def __init__(self):
        self.head = self.issued = self.completed = 0
        self.fault, self.fault_index = None, 0
        self.blocked = False    # the command number ``issued`` is decoded and waits for ever


class ModelPlatform(Platform):
    """Executes the commands of the ring on an image of global memory and scratchpad.

    Commands of a ring run one after the other. That is enough, because a command may wait only
    for earlier ones of its ring; one whose waits are not satisfied when its turn comes stops the
    ring, as it would stop the hardware for ever.

    Parameters
    ----------
    config : str or XpuConfig
        Configuration to stand for.
    memory_bytes : int
        Size of global memory.
    """

    name = "model"
    timed = False
    cycle_count = 0

    def __init__(self, config, memory_bytes=256 << 20):
        self.config = get_config(config)
        self.memory_bytes = memory_bytes
        self._memory = np.zeros(memory_bytes, np.uint8)
        self._registers = {register.address(index): (register, index)
                           for register in CLUSTER.registers for index in range(register.count)}
        digest = contract_hash(self.config)
        self._constants = {"id": maps.ID, "version": maps.VERSION,
                           "contract_low": digest & 0xFFFF_FFFF, "contract_high": digest >> 32}
        self._irq_status = 0
        self.hard_reset()

    # Platform ------------------------------------------------------------------------------------
    def hard_reset(self):
        self._written = {}      # registers software writes, by offset
        self._known_windows = {}
        self._irq_status = 0
        self._bytes = {"bytes_read": 0, "bytes_written": 0}
        self._reset()

    def _reset(self):
        """What ``control.reset`` does."""
        self._rings = [_Ring() for _ in range(self.config.rings)]
        for index in range(CLUSTER["ring_tail"].count):
            self._written.pop(CLUSTER["ring_tail"].address(index), None)
        self._engines = ModelEngines(self.config, self._memory, self._bytes)
        self._states = {engine: {} for engine in Engine}
        self._indices = dict.fromkeys(Engine, 0)

    def close(self):
        self._memory = None
        self._engines = None

    def read_memory(self, address, size):
        self.check_range(address, size)
        return self._memory[address:address + size].copy()

    def write_memory(self, address, data):
        data = np.frombuffer(data, np.uint8)
        self.check_range(address, len(data))
        self._memory[address:address + len(data)] = data

    def run(self, max_cycles):
        end = time.monotonic() + _RUN_SECONDS
        while not self._irq():
            moved = [self._step(number) for number in range(len(self._rings))]
            if not any(moved) or time.monotonic() > end:
                break
        return 0, self._irq()

    def _irq(self):
        enable = self._written.get(CLUSTER["irq_enable"].address(), 0)
        return bool(self._irq_status & enable)

    # Registers -----------------------------------------------------------------------------------
    def read_register(self, offset):
        if offset not in self._registers:
            raise RegisterAccessError(offset, "read", _SLVERR)
        register, index = self._registers[offset]
        name = register.name
        if name in self._constants:
            return self._constants[name]
        if name == "status":
            return register.pack(
                active=any(self._pending(number) for number in range(len(self._rings))),
                faulted=any(ring.fault is not None for ring in self._rings))
        if name == "irq_status":
            return self._irq_status
        if name.startswith("bytes_"):
            name, half = name.rsplit("_", 1)
            return self._bytes[name] >> (32 if half == "high" else 0) & 0xFFFF_FFFF
        if name == "engine_index":
            return self._indices.get(index, 0)
        if name == "engine_state":
            state = self._states.get(index, {})
            return register.pack(activity=_SEMAPHORE_ACTIVITY if state else 0,
                                 waiting=int(state.get("header", 0)),
                                 semaphore=state["semaphore"] if state.get("header") else 0)
        if name == "engine_threshold":
            return self._states.get(index, {}).get("threshold", 0)
        if name == "semaphore":
            return self._engines.semaphores[index] if index < self.config.semaphores else 0
        if name.startswith("ring_") and register.fields[0].access is Access.RO:
            return self._read_ring(name, index)
        if name.startswith("window_") and index >= len(self._rings):
            return 0
        return self._written.get(offset, _initial(register))

    def _read_ring(self, name, index):
        if index >= len(self._rings):
            return 0
        ring = self._rings[index]
        fault = ring.fault or Fault(FaultCause.NONE, Engine.LOAD)
        return {
            "ring_head": ring.head, "ring_completed": ring.completed,
            "ring_issued": ring.issued + ring.blocked & 0xFFFF_FFFF,
            "ring_fault": CLUSTER["ring_fault"].pack(cause=int(fault.cause),
                                                     engine=int(fault.engine)),
            "ring_fault_index": ring.fault_index,
            "ring_fault_address_low": fault.address & 0xFFFF_FFFF,
            "ring_fault_address_high": fault.address >> 32 & 0xFFFF_FFFF,
            "ring_fault_info": fault.info & 0xFFFF_FFFF,
            "ring_fault_row": fault.row & 0xFFFF_FFFF,
        }[name]

    def write_register(self, offset, value):
        if offset not in self._registers:
            raise RegisterAccessError(offset, "write", _SLVERR)
        register, index = self._registers[offset]
        if all(field.access is Access.RO for field in register.fields):
            raise RegisterAccessError(offset, "write", _SLVERR)
        if register.name == "control":
            if register.unpack(value)["reset"]:
                self._reset()
        elif register.name == "irq_status":
            self._irq_status &= ~value
        elif register.name == "ring_control":
            if register.unpack(value)["reset"] and index < len(self._rings):
                self._reset_ring(index)
        else:
            mask = sum(field.mask for field in register.fields)
            self._written[offset] = value & mask
            if register.name.startswith("window_"):
                self._known_windows.pop(index, None)

    def _reset_ring(self, number):
        """What ``ring_control.reset`` does."""
        self._rings[number] = _Ring()
        self._written.pop(CLUSTER["ring_tail"].address(number), None)
        self._states = {engine: {} for engine in Engine}

    # Rings ---------------------------------------------------------------------------------------
    def _ring_register(self, name, number):
        return self._written.get(CLUSTER[f"ring_{name}"].address(number), 0)

    def _pending(self, number):
        ring = self._rings[number]
        return ring.fault is None and ring.head != self._ring_register("tail", number)

    def _windows(self, number):
        """Windows of a ring."""
        if number not in self._known_windows:
            self._known_windows[number] = Windows.from_registers(
                lambda name: self.read_register(CLUSTER[name].address(number)))
        return self._known_windows[number]

    def _fetch(self, number, count, windows):
        """Return ``count`` slots from the head on."""
        slots = 1 << self._ring_register("size", number)
        base = (self._ring_register("base_high", number) << 32
                | self._ring_register("base_low", number))
        data = b""
        for slot in range(count):
            address = base + (self._rings[number].head + slot) % slots * SLOT_BYTES
            if not windows.gm_allowed(address // PAGE_BYTES, write=False):
                raise Fault(FaultCause.PROTECTION, Engine.CONTROL, address=address)
            if address + SLOT_BYTES > self.memory_bytes:
                raise Fault(FaultCause.FETCH, Engine.CONTROL, address=address, info=_DECERR)
            data += self._memory[address:address + SLOT_BYTES].tobytes()
        return data

    def _step(self, number):
        """Execute the next command of a ring; False if there is none or it cannot run."""
        if not self._pending(number):
            return False
        ring, engine = self._rings[number], Engine.CONTROL
        try:
            windows = self._windows(number)
            data = self._fetch(number, 1, windows)
            fmt = check_slot(self.config, data, windows)
            command = decode(data if fmt.slots == 1 else self._fetch(number, fmt.slots, windows))
            engine = command.engine
            self._indices[engine] = ring.issued & 0xFFFF_FFFF
            self._engines.execute(command, windows)
        except Blocked as blocked:
            self._states[engine], ring.blocked = blocked.state, True
            return False
        except Fault as fault:
            ring.fault, ring.fault_index = fault, ring.issued & 0xFFFF_FFFF
            self._irq_status |= CLUSTER["irq_status"].pack(fault=1 << number)
            return True
        ring.head = (ring.head + fmt.slots) % (1 << self._ring_register("size", number))
        ring.issued += 1
        self._states[engine], ring.blocked = {}, False
        if command.opcode is Opcode.FENCE:
            ring.completed = command["sequence"]
            if command["interrupt"]:
                self._irq_status |= CLUSTER["irq_status"].pack(completion=1 << number)
        return True


def _initial(register):
    return sum(field.init << field.lsb for field in register.fields)
