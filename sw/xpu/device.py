"""A device: memory, one command ring, and waiting for it."""

import gc
import threading
import time

import numpy as np

from xpu_rtl.command.formats import Engine, FaultCause, Opcode
from xpu_rtl.configs import get_config
from xpu_rtl.contract import contract_hash
from xpu_rtl.csr import maps
from xpu_rtl.csr.maps import CLUSTER

from .commands import Command
from .errors import (
    ArgumentError,
    ClosedError,
    ContractError,
    DeviceFault,
    DTypeError,
    LostError,
    OutOfMemoryError,
    XpuError,
)
from .hang import hang_error
from .memory import Allocator
from .platforms import ENGINES
from .profile import Profile
from .ring import Operation, Ring
from .semaphores import Semaphores
from .tensor import Tensor, check_dtype, check_shape

__all__ = ["Device"]

_SLICE_SECONDS = 0.2     #: the platform runs about so long between looks at Ctrl-C and progress
_SPACE_CYCLES = 8192     #: likewise in cycles, while commands wait for space in the ring
_RESET_CYCLES = 20_000   #: a reset that takes longer has hung


class Device:
    """An open device. Made by ``xpu.open``; a context manager that closes it.

    Operations are queued and run while somebody waits for them; simulated time passes only while
    work is outstanding. Calls from several threads take turns.

    Parameters
    ----------
    platform : Platform
        The hardware; closed with the device.
    timeout_cycles : int
        Cycles without progress after which waiting raises ``HangError``.
    log2_slots : int
        Size of the command ring.

    Attributes
    ----------
    config : XpuConfig
        Configuration of the hardware.
    platform : Platform
        As given.
    semaphores : Semaphores
        Semaphore values after all submitted work.
    """

    def __init__(self, platform, *, timeout_cycles=1_000_000, log2_slots=12):
        self.platform, self.config = platform, platform.config
        self.timeout_cycles = timeout_cycles
        self._lock = threading.RLock()
        self._closed = False
        self._fault = None
        self._profiles = []
        self._allocator = Allocator(platform.memory_bytes)
        self.semaphores = Semaphores(self.config)
        self._submitted = self._completed = self._base = 0
        self._slice_cycles = 4096
        self._check_contract()
        block = self._allocator.allocate(64 << log2_slots, "command ring")
        self._ring = Ring(platform, block, log2_slots)
        self._restart()

    # Opening and closing -------------------------------------------------------------------------
    def _read(self, name, index=0):
        return self.platform.read_register(CLUSTER[name].address(index))

    def _write(self, name, value, index=0):
        self.platform.write_register(CLUSTER[name].address(index), value)

    def _check_contract(self):
        found = self._read("id")
        if found != maps.ID:
            raise ContractError(f"the hardware identifies itself as {found:#010x}, not as an XPU "
                                f"({maps.ID:#010x})")
        found = self._read("version")
        if found >> 16 != maps.VERSION >> 16:
            raise ContractError(
                f"the hardware has version {_version(found)}, this driver needs "
                f"{maps.VERSION >> 16}.x.x and was written for {_version(maps.VERSION)}")
        expected = contract_hash(self.config)
        found = self._read("contract_high") << 32 | self._read("contract_low")
        if found != expected:
            raise ContractError(
                f"hardware and driver do not share register map, command formats or configuration "
                f"{self.config.name!r}: the hardware's contract hash is {found:#018x}, the "
                f"driver's {expected:#018x}; rebuild the hardware from this version")

    def _check_open(self):
        if self._closed:
            raise ClosedError("the device is closed; open another with xpu.open()")

    def close(self):
        """Release everything; work not waited for is lost. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self.platform.close()

    @property
    def closed(self):
        return self._closed

    def __enter__(self):
        self._check_open()
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        state = "closed" if self._closed else f"{self._allocator.used_bytes} bytes used"
        return f"Device({self.config.name!r}, platform={self.platform.name!r}, {state})"

    # Memory --------------------------------------------------------------------------------------
    def tensor(self, array):
        """Copy a NumPy array to device memory.

        Raises
        ------
        DTypeError, ShapeError
            The array is none, or its type or shape is not supported.
        OutOfMemoryError
            There is no space, even after waiting for outstanding work.
        """
        if not isinstance(array, (np.ndarray, np.generic)):
            raise DTypeError(f"array must be a NumPy array, not {type(array).__name__}")
        dtype = check_dtype(array.dtype, "array")
        result = self.empty(array.shape, dtype)
        with self._lock:
            self._check_open()
            data = np.ascontiguousarray(array, dtype)
            self.platform.write_memory(result.address, data.reshape(-1).view(np.uint8))
        return result

    def empty(self, shape, dtype):
        """Return a tensor with undefined contents. Raises like ``tensor``."""
        dtype, shape = check_dtype(dtype), check_shape(shape)
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        with self._lock:
            self._check_open()
            block = self._allocate(size, f"tensor {dtype.name} {list(shape)}")
            return Tensor(self, block, shape, dtype, self._allocator)

    def _allocate(self, size, label):
        self._allocator.reclaim(self._completed)
        try:
            return self._allocator.allocate(size, label)
        except OutOfMemoryError:
            gc.collect()
            if self._fault is None:
                self.synchronize()
            self._allocator.reclaim(self._completed)
            return self._allocator.allocate(size, label)

    def _read_block(self, block, size):
        with self._lock:
            self._check_open()
            if not block.lost and block.last_write > self._completed:
                self._wait(lambda: self._completed >= block.last_write)
            if block.lost:
                raise LostError(f"{block.label} at {block.address:#x} has no contents: "
                                f"{block.lost}")
            return self.platform.read_memory(block.address, size)

    def _check_contents(self, **tensors):
        """Refuse operands that will never have contents."""
        for name, tensor in tensors.items():
            if tensor is not None and tensor._block.lost:
                raise LostError(f"{name} ({tensor!r}) has no contents: {tensor._block.lost}")

    @property
    def memory_free(self):
        """Bytes of device memory that are free, counting tensors already dropped."""
        with self._lock:
            self._allocator.reclaim(self._completed)
            return self._allocator.free_bytes

    # Work ----------------------------------------------------------------------------------------
    def submit(self, commands, *, name="commands", reads=(), writes=(), macs=None):
        """Queue commands as one operation, followed by a FENCE.

        For operators; users call ``xpu.ops``. The operator owns the whole scratchpad: no command
        of another operation runs beside these.

        Parameters
        ----------
        commands : list of Command
            Without the FENCE.
        name : str
            For messages.
        reads, writes : sequence of Tensor
            Tensors of this device the commands read and write.
        macs : (numpy.dtype, int) or None
            Multiply-accumulates, for profiles.
        """
        with self._lock:
            self._check_open()
            self._check_fault()
            sequence = self._submitted + 1
            fence = Command(Opcode.FENCE, sequence=(sequence - self._base) & 0xFFFF_FFFF,
                            interrupt=1)
            operation = Operation(name, [*commands, fence], sequence,
                                  [tensor._block for tensor in writes])
            self.semaphores.account(commands)
            self._ring.submit(operation)
            self._submitted = sequence
            for tensor in (*reads, *writes):
                tensor._block.last_use = sequence
            for tensor in writes:
                tensor._block.last_write = sequence
            if macs is not None:
                for profile in self._profiles:
                    profile._count_macs(*macs)
            self._ring.pump()
            if self._ring.waiting:
                self._wait(lambda: not self._ring.waiting)

    def synchronize(self):
        """Wait until all submitted work is complete.

        Raises
        ------
        DeviceFault
            A command failed; ``reset`` restores service.
        HangError
            Nothing moved for ``timeout_cycles``.
        """
        with self._lock:
            self._check_open()
            self._check_fault()
            self._wait(lambda: self._completed >= self._submitted)

    def profile(self):
        """Return a ``Profile``: ``with dev.profile() as p`` measures the work submitted inside.

        Entering waits for earlier work, leaving for the work inside.
        """
        self._check_open()
        return Profile(self)

    def _begin_profile(self, profile):
        with self._lock:
            self.synchronize()
            self._share_trace()
            profile._start(self.platform)
            self._profiles.append(profile)

    def _end_profile(self, profile, wait):
        with self._lock:
            try:
                if wait:
                    self.synchronize()
                    self._share_trace()
                    profile._finish(self.platform.timed)
            finally:
                self._profiles.remove(profile)

    def _share_trace(self):
        events = self.platform.take_trace()
        for profile in self._profiles:
            profile._add_events(events)

    # Waiting -------------------------------------------------------------------------------------
    def _wait(self, done):
        """Run the platform in slices until ``done()``."""
        idle_cycles, before = 0, None
        self._poll()
        while not done():
            cycles = min(self._slice_cycles, max(self.timeout_cycles, 1))
            if self._ring.waiting:
                cycles = min(cycles, _SPACE_CYCLES)
            begin = time.monotonic()
            passed, irq = self.platform.run(cycles)
            self._adapt(passed, cycles, time.monotonic() - begin)
            for profile in self._profiles:
                profile._tick(self.platform.cycle_count)
            self._poll()
            if irq:
                idle_cycles, before = 0, None
                continue
            now = self._progress()
            if now != before:
                idle_cycles, before = 0, now
                continue
            idle_cycles += passed
            if idle_cycles >= self.timeout_cycles or not self.platform.timed:
                raise hang_error(self, idle_cycles)

    def _adapt(self, passed, asked, seconds):
        if passed == asked:
            factor = _SLICE_SECONDS / max(seconds, 1e-6)
            self._slice_cycles = int(min(max(asked * min(factor, 4), 64), 1 << 28))

    def _progress(self):
        """Registers that change while anything moves."""
        return (self._ring.read("completed"), self._ring.read("head"), self._ring.read("issued"),
                self._read("bytes_read_low"), self._read("bytes_written_low"),
                *(self._read("engine_index", Engine[name.upper()]) for name in ENGINES))

    def _poll(self):
        """Take note of completions and faults; feed the ring."""
        status = self._read("irq_status")
        if status:
            self._write("irq_status", status)
        register = CLUSTER["irq_status"]
        self._note_completions()
        if register.unpack(status)["fault"] and self._fault is None:
            self._note_fault()
        self._check_fault()
        if self._ring.waiting:
            self._ring.pump()

    def _note_completions(self):
        known = (self._completed - self._base) & 0xFFFF_FFFF
        advance = (self._ring.read("completed") - known) & 0xFFFF_FFFF
        if advance:
            self._completed += advance
            self._ring.retire(self._completed)
            self._allocator.reclaim(self._completed)

    # Faults --------------------------------------------------------------------------------------
    def _note_fault(self):
        fault = CLUSTER["ring_fault"].unpack(self._ring.read("fault"))
        index = self._ring.read("fault_index")
        self._fault = {
            "cause": FaultCause(fault["cause"]), "engine": Engine(fault["engine"]),
            "index": index, "command": self._ring.lookup(index),
            "address": (self._ring.read("fault_address_high") << 32
                        | self._ring.read("fault_address_low")),
            "info": self._ring.read("fault_info"),
        }
        self._lose(f"command {index} failed with {self._fault['cause'].name}")

    def _lose(self, reason):
        """Mark everything outstanding as lost."""
        lost = list(self._ring.operations)
        for operation in lost:
            for block in operation.writes:
                block.lost = f"{operation.name} was lost when {reason}"
        if self._fault is not None:
            self._fault["lost"] = len(lost)

    def _check_fault(self):
        if self._fault is None:
            return
        values = dict(self._fault)
        lost = values.pop("lost")
        raise DeviceFault(
            f"{values['cause'].name} in engine {values['engine'].name}: command {values['index']} "
            f"({values['command'] or 'not decodable'}) failed, address {values['address']:#x}, "
            f"info {values['info']:#x}; {lost} queued operation{'s are' if lost != 1 else ' is'} "
            f"lost; dev.reset() restores service", **values)

    def reset(self):
        """Stop all work and restore service, after a fault, a hang or at any time.

        Outstanding operations are lost; tensors that were complete keep their contents.
        """
        with self._lock:
            self._check_open()
            self._lose("the device was reset")
            self._restart()

    def _restart(self):
        self._write("irq_enable", 0)
        self._write("control", CLUSTER["control"].pack(reset=1))
        if not self._reset_ended():
            self.platform.hard_reset()
            if not self._reset_ended():
                raise XpuError(f"the hardware did not come out of reset within {_RESET_CYCLES} "
                               f"cycles: status {self._read('status'):#x}")
        self._fault = None
        self._completed = self._base = self._submitted
        self.semaphores.reset()
        self._ring.start()
        self._allocator.reclaim(self._completed)
        self._write("irq_status", 0xFFFF_FFFF)
        self._write("irq_enable", CLUSTER["irq_enable"].pack(completion=1, fault=1))

    def _reset_ended(self):
        cycles = 0
        while CLUSTER["status"].unpack(self._read("status"))["resetting"]:
            if cycles >= _RESET_CYCLES or not self.platform.timed:
                return False
            self.platform.run(64)
            cycles += 64
        return True


def _version(value):
    return f"{value >> 16}.{value >> 8 & 0xFF}.{value & 0xFF}"


def open_device(config="slice", platform="native", *, memory_bytes=256 << 20, memory_latency=20,
                memory_stall=None, timeout_cycles=1_000_000, **options):
    """Open a device; ``xpu.open``.

    Parameters
    ----------
    config : str or XpuConfig
        Configuration of the hardware. Ignored if ``platform`` is an object with another and this
        is the default.
    platform : str or Platform
        ``"native"``: the RTL in a compiled simulation. ``"model"``: the functional model, bit-exact
        and without time. Or an open platform, which is closed with the device.
    memory_bytes : int
        Size of device memory.
    memory_latency : int
        Cycles from address to first data beat, and from last data beat to response.
    memory_stall : optional
        Random stalls of the memory, as the native platform describes them.
    timeout_cycles : int
        Cycles without progress after which waiting raises ``HangError``.
    **options
        Further options of the platform.

    Raises
    ------
    ArgumentError
        An argument is out of range.
    ContractError
        The hardware is not the one this driver was written for.
    """
    for name, value, least in (("memory_bytes", memory_bytes, 1 << 20),
                               ("memory_latency", memory_latency, 0),
                               ("timeout_cycles", timeout_cycles, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ArgumentError(f"{name} must be an integer of at least {least}, not {value!r}")
    if isinstance(platform, str):
        platform = _make_platform(config, platform, memory_bytes, options,
                                  memory_latency=memory_latency, memory_stall=memory_stall)
    elif config not in ("slice", platform.config.name, platform.config):
        raise ArgumentError(f"config must be that of the platform, {platform.config.name!r}, "
                            f"not {config!r}")
    try:
        return Device(platform, timeout_cycles=timeout_cycles)
    except BaseException:
        platform.close()
        raise


def _make_platform(config, name, memory_bytes, options, **timing):
    try:
        config = get_config(config)
    except ValueError as error:
        raise ArgumentError(str(error)) from None
    if name == "model":
        from .platforms.model import ModelPlatform
        return ModelPlatform(config, memory_bytes=memory_bytes, **options)
    if name == "native":
        from .platforms.native import NativePlatform
        timing = {key: value for key, value in timing.items() if value is not None}
        return NativePlatform(config, memory_bytes=memory_bytes, **timing, **options)
    raise ArgumentError(f"platform must be 'native', 'model' or a Platform, not {name!r}")
