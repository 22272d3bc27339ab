"""Allocation of device memory."""

import bisect
from collections import deque
from dataclasses import dataclass

from .errors import OutOfMemoryError

__all__ = ["Allocator", "Block"]

_LARGE = 4096    #: blocks of this size and more begin at multiples of it: full bursts


@dataclass(eq=False)
class Block:
    """A piece of device memory.

    Attributes
    ----------
    address, size : int
        First byte and number of bytes handed out.
    label : str
        What it is for, in messages.
    last_use : int
        Sequence number of the last operation that uses it; it is free again only after that.
    last_write : int
        Likewise of the last operation that writes it.
    lost : str
        Why its contents never arrived; empty if they did or will.
    """

    address: int
    size: int
    label: str
    last_use: int = 0
    last_write: int = 0
    lost: str = ""


class Allocator:
    """First-fit allocator of a contiguous memory.

    Blocks are multiples of 64 bytes and begin at such; blocks of 4 KiB and more begin at multiples
    of 4 KiB. ``release`` may be called at any time from any thread, also by a finalizer: it only
    notes the block, and ``reclaim`` frees it.

    Parameters
    ----------
    size : int
        Bytes of the memory.
    """

    ALIGNMENT = 64

    def __init__(self, size):
        self.size = size
        self._gaps = [(0, size)] if size else []     # (begin, end), sorted, never adjacent
        self._live = {}                              # address -> Block
        self._released = deque()

    @property
    def free_bytes(self):
        return sum(end - begin for begin, end in self._gaps)

    @property
    def used_bytes(self):
        return self.size - self.free_bytes

    def allocate(self, size, label=""):
        """Return a ``Block`` of ``size`` bytes.

        Raises
        ------
        OutOfMemoryError
            No gap is large enough.
        """
        rounded = -(-max(size, 1) // self.ALIGNMENT) * self.ALIGNMENT
        alignment = _LARGE if size >= _LARGE else self.ALIGNMENT
        for position, (begin, end) in enumerate(self._gaps):
            address = -(-begin // alignment) * alignment
            if address + rounded <= end:
                rest = [(begin, address), (address + rounded, end)]
                self._gaps[position:position + 1] = [gap for gap in rest if gap[0] < gap[1]]
                block = Block(address, rounded, label)
                self._live[address] = block
                return block
        raise OutOfMemoryError(self._complaint(size, label))

    def _complaint(self, size, label):
        largest = max((end - begin for begin, end in self._gaps), default=0)
        holders = sorted(self._live.values(), key=lambda block: -block.size)[:3]
        text = "; ".join(f"{block.label or 'unnamed'}: {block.size} bytes" for block in holders)
        return (f"device memory: {size} bytes requested{f' for {label}' if label else ''}, but of "
                f"{self.size} bytes {self.free_bytes} are free, the largest piece {largest}; "
                f"largest holders: {text or 'none'}")

    def release(self, block):
        """Note that nobody refers to a block any more."""
        self._released.append(block)

    def reclaim(self, completed):
        """Free released blocks whose last use is complete.

        Parameters
        ----------
        completed : int
            Sequence number of the last complete operation.
        """
        for _ in range(len(self._released)):
            block = self._released.popleft()
            if block.last_use <= completed:
                self._free(block)
            else:
                self._released.append(block)

    def _free(self, block):
        if self._live.get(block.address) is not block:
            raise ValueError(f"block at {block.address:#x} is not allocated")
        del self._live[block.address]
        begin, end = block.address, block.address + block.size
        position = bisect.bisect(self._gaps, (begin, end))
        if position < len(self._gaps) and self._gaps[position][0] == end:
            end = self._gaps.pop(position)[1]
        if position and self._gaps[position - 1][1] == begin:
            position -= 1
            begin = self._gaps.pop(position)[0]
        self._gaps.insert(position, (begin, end))
