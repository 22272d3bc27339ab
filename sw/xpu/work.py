"""Submitted work: bringing it to the hardware, waiting for it, and what became of it."""

import time

from xpu_rtl.command.formats import Engine, FaultCause, Opcode
from xpu_rtl.csr.maps import CLUSTER
from xpu_rtl.simd.instruction import Cause

from .commands import Command
from .dma_commands import DMA_OPCODES, row_indices
from .errors import DeviceFault, XpuError
from .hang import hang_error
from .platforms import engine_names
from .ring import Operation, Ring
from .semaphores import Semaphores

__all__ = ["Work"]

_SLICE_SECONDS = 0.2     #: the platform runs about so long between looks at Ctrl-C and progress
_SPACE_CYCLES = 8192     #: likewise in cycles, while commands wait for space in the ring
_RESET_CYCLES = 20_000   #: a reset that takes longer has hung
_MASK = 0xFFFF_FFFF


class Work:
    """Operations on one ring, numbered from 1 in the order of submission.

    Parameters
    ----------
    platform : Platform
        The hardware.
    block : Block
        Memory of the ring.
    log2_slots : int
        Size of the ring.
    timeout_cycles : int
        Cycles without progress after which waiting raises ``HangError``.
    after_slice : callable
        Called whenever simulated time has passed.
    where : callable
        Names the function of a kernel that holds an address, or returns ``None``.

    Attributes
    ----------
    submitted, completed : int
        Sequence numbers of the last operation submitted, and known to be complete (or given up).
    last : Operation
        Submitted last.
    semaphores : Semaphores
        Values after all submitted work.
    ring, ring_block : Ring, Block
        The ring and its memory.
    seconds : float
        Time on the wall the platform has run.
    """

    def __init__(self, platform, block, *, log2_slots, timeout_cycles, after_slice, where):
        self.platform, self.timeout_cycles = platform, timeout_cycles
        self.semaphores = Semaphores(platform.config)
        self.ring, self.ring_block = Ring(platform, block, log2_slots), block
        self.last = None
        self.submitted = self.completed = 0
        self.seconds = 0.0
        self._after_slice, self._where = after_slice, where
        self._base = 0              # sequence number the hardware counts from
        self._fault = None          # arguments of DeviceFault, and how many operations it took
        self._slice_cycles = 4096

    def read(self, name, index=0):
        """Return a register."""
        return self.platform.read_register(CLUSTER[name].address(index))

    def _write(self, name, value):
        self.platform.write_register(CLUSTER[name].address(), value)

    # Submission ----------------------------------------------------------------------------------
    def submit(self, commands, name, writes):
        """Append ``commands`` and a FENCE; return the operation's number.

        Commands for which the ring has no space follow while somebody waits.
        """
        sequence = self.submitted + 1
        fence = Command(Opcode.FENCE, sequence=(sequence - self._base) & _MASK, interrupt=1)
        operation = Operation(name, [*commands, fence], sequence, list(writes))
        self.ring.submit(operation)
        self.last = operation
        self.semaphores.account(commands)
        self.submitted = sequence
        for block in writes:
            block.last_write = sequence
        self.ring.pump()
        return sequence

    def wait_for_space(self):
        """Wait until every command is in the ring."""
        if self.ring.waiting:
            self._wait(lambda: not self.ring.waiting)

    def wait_for(self, sequence):
        """Wait until an operation is complete. Raises ``DeviceFault``, ``HangError``."""
        if self.completed < sequence:
            self._wait(lambda: self.completed >= sequence)

    # Waiting -------------------------------------------------------------------------------------
    def _wait(self, done):
        """Run the platform in slices until ``done()``."""
        idle_cycles, before = 0, None
        self._poll()
        while not done():
            cycles = min(self._slice_cycles, self.timeout_cycles)
            if self.ring.waiting:
                cycles = min(cycles, _SPACE_CYCLES)
            begin = time.monotonic()
            passed, irq = self.platform.run(cycles)
            seconds = time.monotonic() - begin
            self.seconds += seconds
            self._adapt(passed, cycles, seconds)
            self._after_slice()
            self._poll()
            now = self._progress() if not irq else None
            if irq or now != before:
                idle_cycles, before = 0, now
                continue
            idle_cycles += passed
            if idle_cycles >= self.timeout_cycles or not self.platform.timed:
                raise hang_error(self, idle_cycles)

    def _adapt(self, passed, asked, seconds):
        """Choose the next slice so that it takes about ``_SLICE_SECONDS``."""
        if passed == asked:
            factor = min(_SLICE_SECONDS / max(seconds, 1e-6), 4)
            self._slice_cycles = int(min(max(asked * factor, 64), 1 << 28))

    def _progress(self):
        """Registers of which one changes while anything moves."""
        return (self.ring.read("completed"), self.ring.read("head"), self.ring.read("issued"),
                self.read("bytes_read_low"), self.read("bytes_written_low"),
                *(self.read("engine_index", Engine[name.upper()])
                  for name in engine_names(self.platform.config)))

    def _poll(self):
        """Take note of completions and faults; feed the ring."""
        register = CLUSTER["irq_status"]
        status = self.read("irq_status")
        fault = register.unpack(status)["fault"]
        if status and not fault:
            self._write("irq_status", status)
        known = (self.completed - self._base) & _MASK
        advance = (self.ring.read("completed") - known) & _MASK
        if advance:
            self.completed += advance
            self.ring.retire(self.completed)
        if fault:
            if self._fault is None:
                self._note_fault()
            self._write("irq_status", status)       # once noted: Ctrl-C may come in between
        self.check()
        if self.ring.waiting:
            self.ring.pump()

    # Faults --------------------------------------------------------------------------------------
    def _note_fault(self):
        read = self.ring.read
        fault = CLUSTER["ring_fault"].unpack(read("fault"))
        index = read("fault_index")
        self._fault = {
            "cause": FaultCause(fault["cause"]), "engine": Engine(fault["engine"]),
            "index": index, "command": self.ring.lookup(index),
            "address": read("fault_address_high") << 32 | read("fault_address_low"),
            "info": read("fault_info"), "row": read("fault_row"),
        }
        self._fault["lost"] = self._lose(f"command {index} failed with "
                                         f"{self._fault['cause'].name}")

    def _lose(self, reason):
        """Mark everything outstanding as lost; return how many operations that are."""
        for operation in self.ring.operations:
            for block in operation.writes:
                block.lost = block.lost or f"{operation.name} was lost when {reason}"
        return len(self.ring.operations)

    def check(self):
        """Raise ``DeviceFault`` if the ring has stopped."""
        if self._fault is None:
            return
        values = dict(self._fault)
        lost = values.pop("lost")
        if values["cause"] is FaultCause.KERNEL_TRAP:
            values["indices"], where = {}, self._trap(values)
        else:
            values["indices"], where = _place(values["command"], values["row"])
        raise DeviceFault(
            f"{values['cause'].name} in engine {values['engine'].name}: command {values['index']} "
            f"({values['command'] or 'unknown'}) failed{where}, address {values['address']:#x}, "
            f"info {values['info']:#x}; {lost} queued operation{'s are' if lost != 1 else ' is'} "
            f"lost, this one included; dev.reset() restores service", **values)

    def _trap(self, values):
        """A kernel's trap in words."""
        cause, core = values["info"] & 0xFF, values["info"] >> 8 & 0xFF
        place = self._where(values["address"])
        return (f": core {core} met {Cause(cause).name} at {values['address']:#010x}"
                f"{f' ({place})' if place else ''}, about {values['row']:#x}")

    @property
    def faulted(self):
        return self._fault is not None

    # Reset ---------------------------------------------------------------------------------------
    def restart(self):
        """Reset the hardware and start the ring anew; outstanding operations are lost."""
        self._lose("the device was reset")
        self._write("irq_enable", 0)
        self._write("control", CLUSTER["control"].pack(reset=1))
        if not self._reset_ended():
            self.platform.hard_reset()
            if not self._reset_ended():
                raise XpuError(f"the hardware did not come out of reset within {_RESET_CYCLES} "
                               f"cycles: status {self.read('status'):#x}")
        self._fault = None
        self.completed = self._base = self.submitted
        self.semaphores.reset()
        self.ring.start()
        irq = {field.name: (1 << field.width) - 1 for field in CLUSTER["irq_status"].fields}
        self._write("irq_status", CLUSTER["irq_status"].pack(**irq))
        self._write("irq_enable", CLUSTER["irq_enable"].pack(completion=1, fault=1))

    def _reset_ended(self):
        cycles = 0
        while CLUSTER["status"].unpack(self.read("status"))["resetting"]:
            if cycles >= _RESET_CYCLES or not self.platform.timed:
                return False
            self.platform.run(64)
            cycles += 64
        return True


def _place(command, row):
    """Return the loop indices of a DMA command's row, and the row in words."""
    if command is None or command.opcode not in DMA_OPCODES:
        return {}, f" at row {row}" if row else ""
    indices = row_indices(command, row)
    text = ", ".join(f"i{n}={index}" for n, index in indices.items())
    return indices, f" at row {row}" + (f" = ({text})" if text else "")
