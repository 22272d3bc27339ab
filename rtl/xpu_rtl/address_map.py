"""The system address map: one 64-bit address names a byte of any card, cluster and memory.

Plain Python, shared by hardware, driver and documentation.
"""

import enum
from dataclasses import dataclass

__all__ = ["CARD_LSB", "CLUSTER_LSB", "CORE_GM_LSB", "CORE_SM_LSB", "OFFSET_WIDTH",
           "PAGE_BYTES", "SPACE_LSB", "Space", "SystemAddress"]

OFFSET_WIDTH = 44     #: bits 43:0, byte offset within the space (16 TiB)
SPACE_LSB = 44        #: bits 47:44, the memory
CLUSTER_LSB = 48      #: bits 55:48, the cluster (SM and semaphores belong to one)
CARD_LSB = 56         #: bits 63:56, the card
CORE_SM_LSB = 24      #: a core's addresses: LM at 0, SM at 2**24
CORE_GM_LSB = 28      #: and GM from 2**28 on
PAGE_BYTES = 4096     #: unit of windows onto GM; no burst crosses a page


@enum.unique
class Space(enum.IntEnum):
    """Memories an address can name."""

    GM = 0          #: global memory
    SM = 1          #: scratchpad of a cluster
    SEMAPHORE = 2   #: semaphores of a cluster, 4 bytes each


@dataclass(frozen=True)
class SystemAddress:
    """A decoded system address."""

    space: Space
    offset: int
    cluster: int = 0
    card: int = 0

    def encode(self):
        """Return the 64-bit address."""
        if not 0 <= self.offset < 1 << OFFSET_WIDTH:
            raise ValueError(f"offset must lie below 2**{OFFSET_WIDTH}, not {self.offset:#x}")
        for field in ("cluster", "card"):
            if not 0 <= getattr(self, field) < 256:
                raise ValueError(f"{field} must lie in 0..255, not {getattr(self, field)!r}")
        return (self.card << CARD_LSB | self.cluster << CLUSTER_LSB
                | int(self.space) << SPACE_LSB | self.offset)

    @classmethod
    def decode(cls, address):
        """Split a 64-bit address; ``ValueError`` for an undefined space."""
        return cls(space=Space(address >> SPACE_LSB & 0xF),
                   offset=address & ((1 << OFFSET_WIDTH) - 1),
                   cluster=address >> CLUSTER_LSB & 0xFF, card=address >> CARD_LSB & 0xFF)
