"""A device: its memory, its work, its lock."""

import contextlib
import gc
import threading

import numpy as np

from xpu_rtl.contract import contract_hash
from xpu_rtl.csr import maps

from .errors import (
    ArgumentError,
    ClosedError,
    ContractError,
    DTypeError,
    LostError,
    OutOfMemoryError,
)
from .kernel import Kernel, LoadedKernel, launch
from .memory import Allocator
from .profile import Profile
from .protection import window_registers
from .tensor import Tensor, check_dtype, check_shape
from .work import Work

__all__ = ["Device"]


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
    """

    def __init__(self, platform, *, timeout_cycles=1_000_000, log2_slots=12):
        self.platform, self.config = platform, platform.config
        self._lock = threading.RLock()
        self._closed = False
        self._profiles, self._recorders = [], []
        self._kernels = {}      # those in memory
        self._windows = {}      # values of the window registers that were set, by address
        self._allocator = Allocator(platform.memory_bytes)
        block = self._allocator.allocate(64 << log2_slots, "command ring")
        self._work = Work(platform, block, log2_slots=log2_slots, timeout_cycles=timeout_cycles,
                          after_slice=self._tick_profiles, where=self._where)
        self._check_contract()
        self._work.restart()

    # Opening and closing -------------------------------------------------------------------------
    def _check_contract(self):
        read = self._work.read
        found = read("id")
        if found != maps.ID:
            raise ContractError(f"the hardware identifies itself as {found:#010x}, not as an XPU, "
                                f"{maps.ID:#010x}")
        found = read("version")
        if found >> 16 != maps.VERSION >> 16:
            raise ContractError(f"the hardware has version {_version(found)}; this driver was "
                                f"written for {_version(maps.VERSION)}")
        expected = contract_hash(self.config)
        found = read("contract_high") << 32 | read("contract_low")
        if found != expected:
            raise ContractError(
                f"hardware and driver do not agree on register map, command formats or "
                f"configuration {self.config.name!r}: the hardware's contract hash is "
                f"{found:#018x}, the driver's {expected:#018x}; build the hardware from the same "
                f"version of the sources")

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
            The argument is no array, or its type or shape is not supported.
        OutOfMemoryError
            There is no space, even after waiting for outstanding work.
        """
        if not isinstance(array, np.ndarray | np.generic):
            raise DTypeError(f"array must be a NumPy array, not {type(array).__name__}")
        dtype = check_dtype(array.dtype, "array")
        data = np.ascontiguousarray(array, dtype)
        result = self.empty(array.shape, dtype)
        with self._lock:
            self._check_open()
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
        self._allocator.reclaim(self._work.completed)
        try:
            return self._allocator.allocate(size, label)
        except OutOfMemoryError:
            gc.collect()
            if not self._work.faulted:
                self._work.wait_for(self._work.submitted)
            self._allocator.reclaim(self._work.completed)
            return self._allocator.allocate(size, label)

    def _read_block(self, block, size):
        with self._lock:
            self._check_open()
            if not block.lost:
                self._work.wait_for(block.last_write)
            self._check_contents(block)
            return self.platform.read_memory(block.address, size)

    def _check_contents(self, *blocks):
        """Refuse memory that will never have contents."""
        for block in blocks:
            if block.lost:
                raise LostError(f"{block.label} at {block.address:#x} has no contents: "
                                f"{block.lost}")

    @property
    def memory_free(self):
        """Bytes of device memory that are free, without waiting for outstanding work."""
        with self._lock:
            self._allocator.reclaim(self._work.completed)
            return self._allocator.free_bytes

    # Work ----------------------------------------------------------------------------------------
    @property
    def semaphores(self):
        """``Semaphores``: their values after all submitted work."""
        return self._work.semaphores

    def submit(self, commands, *, name="commands", reads=(), writes=(), macs=None):
        """Queue commands as one operation, followed by a FENCE.

        For operators; users call ``xpu.ops``. The operation has the whole scratchpad to itself: no
        command of another runs beside its own.

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

        Raises
        ------
        DeviceFault
            The device has stopped; ``reset`` restores service.
        LostError
            A tensor to read will never have contents.
        """
        with self._lock:
            self._check_open()
            self._work.check()
            self._check_contents(*(tensor._block for tensor in reads))
            sequence = self._work.submit(commands, name, [tensor._block for tensor in writes])
            for tensor in (*reads, *writes):
                tensor._block.last_use = sequence
            for recorder in self._recorders:
                recorder.submitted(self._work.last, dict.fromkeys((*reads, *writes)), macs)
            if macs is not None:
                for profile in self._profiles:
                    profile._count_macs(*macs)
            self._work.wait_for_space()

    def launch(self, kernel, args=(), *, clusters=1, cores=None):
        """Run a kernel on the SIMD cores, in the order of the other work.

        Parameters
        ----------
        kernel : Kernel
            What to run. It stays in device memory for later launches.
        args : sequence
            One per parameter: numbers; for pointers tensors of this device, or arrays, which are
            copied to the device, and, unless the pointer is ``const``, back when the kernel has
            ended (the call then waits). It also waits if the kernel prints.
        clusters, cores : int
            On how many; default: all cores.

        Raises
        ------
        ArgumentError, DTypeError
            Arguments do not fit the kernel.
        DeviceFault
            On waiting: KERNEL_TRAP names the core, the cause and the place.
        """
        if not isinstance(kernel, Kernel):
            raise DTypeError(f"kernel must be a Kernel, not {type(kernel).__name__}")
        with self._lock:
            self._check_open()
            launch(self, self._load(kernel), kernel, args, clusters, cores)

    def _load(self, kernel):
        """The kernel in this device's memory."""
        if kernel not in self._kernels:
            self._kernels[kernel] = LoadedKernel(self, kernel)
        return self._kernels[kernel]

    def _where(self, pc):
        """Function of a kernel that holds an address, for messages."""
        places = (loaded.where(pc) for loaded in self._kernels.values())
        return next((place for place in places if place), None)

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
            self._work.check()
            self._work.wait_for(self._work.submitted)

    def reset(self):
        """Stop all work and restore service, after a fault, a hang or at any time.

        Outstanding operations are lost; tensors that were complete keep their contents.
        """
        with self._lock:
            self._check_open()
            self._work.restart()
            self._write_windows()

    def protect(self, ring=0, *, gm=None, sm=None, semaphores=None):
        """Confine the commands of a ring; what is not named is open to it.

        Waits for outstanding work. Stays in force over ``reset``; ``protect(ring)`` lifts it. A
        command that leaves the windows fails with PROTECTION, and nothing outside is touched.

        Parameters
        ----------
        ring : int
            Which ring. This device's own commands come from ring 0, so ring 0 must be able to read
            them: ``ring_memory`` tells where they are.
        gm : sequence of (first, last, permissions), optional
            At most two pieces of global memory, given by their first and last byte in multiples
            of 4096 bytes; permissions ``"r"``, ``"w"`` or ``"rw"``.
        sm : (first, last, permissions), optional
            A piece of the scratchpad, likewise in multiples of 64 bytes.
        semaphores : (first, last, permissions), optional
            Numbers; permissions ``"w"`` to wait, ``"s"`` to signal, or ``"ws"``.

        Raises
        ------
        ArgumentError
            An argument is out of range or misaligned.
        """
        with self._lock:
            self._check_open()
            registers = window_registers(self.config, self.platform.memory_bytes, ring, gm, sm,
                                         semaphores, self.ring_memory if ring == 0 else None)
            self._work.check()
            self._work.wait_for(self._work.submitted)
            self._windows.update(registers)
            self._write_windows()

    @property
    def ring_memory(self):
        """First and last byte of the command ring in global memory."""
        block = self._work.ring_block
        return block.address, block.address + block.size - 1

    def _write_windows(self):
        for offset, value in self._windows.items():
            self.platform.write_register(offset, value)

    # Looking inside ------------------------------------------------------------------------------
    @contextlib.contextmanager
    def waves(self, path):
        """Write an FST file of the signals while the work submitted in the block runs.

        ``with dev.waves("op.fst"): xpu.ops.matmul(a, b)``; entering waits for earlier work, leaving
        for the work inside. For a device opened with ``traced=True``.

        Raises
        ------
        ArgumentError
            The platform cannot write waves.
        """
        if not getattr(self.platform, "traced", False):
            raise ArgumentError(f"waves: {self!r} cannot write waves; open the device with "
                                "xpu.open(..., platform='native', traced=True), which builds a "
                                "model of its own")
        with self._lock:
            self.synchronize()
            self.platform.start_waves(path)
            try:
                yield
                self.synchronize()
            finally:
                self.platform.stop_waves()

    # Profiles ------------------------------------------------------------------------------------
    def profile(self):
        """Return a ``Profile``: ``with dev.profile() as p`` measures the work submitted inside.

        Entering waits for earlier work, leaving for the work inside.
        """
        self._check_open()
        return Profile(self)

    def _tick_profiles(self):
        if self._profiles:
            now = self.platform.cycle_count
            for profile in self._profiles:
                profile._tick(now)

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
        for recorder in self._recorders:
            recorder.add_events(events)


def _version(value):
    return f"{value >> 16}.{value >> 8 & 0xFF}.{value & 0xFF}"
