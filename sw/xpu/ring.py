"""The command ring: commands on their way from the driver to the hardware."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from xpu_rtl.command.formats import SLOT_BYTES
from xpu_rtl.csr.maps import CLUSTER

__all__ = ["Operation", "Ring"]


@dataclass(eq=False)
class Operation:
    """Commands submitted together; the last is a FENCE that reports them complete.

    Attributes
    ----------
    name : str
        What it is, in messages.
    commands : list of Command
        Its commands.
    sequence : int
        Its number; operations are numbered from 1 as long as the device is open.
    writes : list of Block
        Memory that has contents only when it is complete.
    first_index : int
        Index of its first command in the ring.
    """

    name: str
    commands: list
    sequence: int
    writes: list = field(default_factory=list)
    first_index: int = 0


class Ring:
    """One command ring.

    Parameters
    ----------
    platform : Platform
        Where it lives.
    block : Block
        Memory of 64 * 2**log2_slots bytes.
    log2_slots : int
        Size, 1 to 16.
    number : int
        Which of the hardware's rings.
    """

    def __init__(self, platform, block, log2_slots, number=0):
        self._platform, self._block, self._number = platform, block, number
        self._log2_slots, self.slots = log2_slots, 1 << log2_slots
        self._clear()

    def _clear(self):
        self.operations = deque()   # not known to be complete, oldest first
        self._tail = self._rung = self._head = 0
        self._backlog = deque()     # encoded commands that found no space yet
        self._next_index = 0

    def _address(self, name):
        return CLUSTER[f"ring_{name}"].address(self._number)

    def read(self, name):
        """Return one of the ring's registers."""
        return self._platform.read_register(self._address(name))

    def start(self):
        """Program the ring after a reset of the device; whatever it held is forgotten."""
        self._clear()
        address = self._block.address
        self._platform.write_register(self._address("base_low"), address & 0xFFFF_FFFF)
        self._platform.write_register(self._address("base_high"), address >> 32)
        self._platform.write_register(
            self._address("size"), CLUSTER["ring_size"].pack(log2_slots=self._log2_slots))

    def submit(self, operation):
        """Append an operation; ``pump`` brings it to the hardware."""
        encoded = [command.encode() for command in operation.commands]
        operation.first_index = self._next_index
        self._next_index += len(encoded)
        self.operations.append(operation)
        self._backlog.extend(encoded)

    @property
    def waiting(self):
        """Commands that have not found space yet."""
        return len(self._backlog)

    def pump(self):
        """Write as many waiting commands as there is space for and ring the doorbell, once."""
        if self._backlog and self._space() < self._needed():
            self._head = self.read("head")
        space, chunk, slots = self._space(), [], 0
        for data in self._backlog:
            count = len(data) // SLOT_BYTES
            if slots + count > space:
                break
            chunk.append(data)
            slots += count
        if chunk:
            self._write(b"".join(chunk))
            for _ in chunk:
                self._backlog.popleft()
            self._tail = (self._tail + slots) % self.slots
        if self._rung != self._tail:
            self._platform.write_register(self._address("tail"), self._tail)
            self._rung = self._tail

    def _needed(self):
        """Slots the backlog wants, but no more than can ever be free."""
        needed = 0
        for data in self._backlog:
            needed += len(data) // SLOT_BYTES
            if needed >= self.slots - 1:
                break
        return min(needed, self.slots - 1)

    def _space(self):
        """Free slots as of the last look at the head; one stays empty to tell full from empty."""
        return self.slots - 1 - (self._tail - self._head) % self.slots

    def _write(self, data):
        data = np.frombuffer(data, np.uint8)
        begin = self._tail * SLOT_BYTES
        first = min(len(data), self.slots * SLOT_BYTES - begin)
        self._platform.write_memory(self._block.address + begin, data[:first])
        if first < len(data):
            self._platform.write_memory(self._block.address, data[first:])

    def retire(self, completed):
        """Forget operations up to sequence number ``completed``."""
        while self.operations and self.operations[0].sequence <= completed:
            self.operations.popleft()

    def lookup(self, index):
        """Return the command with an index (modulo 2**32), or ``None`` if it is not known."""
        for operation in self.operations:
            position = (index - operation.first_index) & 0xFFFF_FFFF
            if position < len(operation.commands):
                return operation.commands[position]
        return None

    def candidates(self, index, accept):
        """Return ``(index, command)`` of outstanding commands that ``accept`` likes: the one with
        number ``index``, if it is among them, and the one that follows it, or else the first.
        """
        numbered = [((operation.first_index + position) & 0xFFFF_FFFF, command)
                    for operation in self.operations
                    for position, command in enumerate(operation.commands) if accept(command)]
        found = next((n for n, (number, _) in enumerate(numbered) if number == index), None)
        return numbered[:1] if found is None else numbered[found:found + 2]
