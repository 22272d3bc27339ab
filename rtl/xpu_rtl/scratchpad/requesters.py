"""Who uses the scratchpad, and with which rights. Plain Python."""

from dataclasses import dataclass

from ..params import XpuConfig

__all__ = ["REQUESTERS", "Requester", "requesters_of", "simd_ports"]


@dataclass(frozen=True)
class Requester:
    """One port of the scratchpad.

    Parameters
    ----------
    name : str
        Name in counters and documents.
    reads, writes : bool
        What the port may do; hardware for the other direction is left out.
    priority : bool
        Wins a bank over requesters without priority, unless they have waited ``AGE_LIMIT`` cycles.
    """

    name: str
    reads: bool
    writes: bool
    priority: bool = False

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ValueError(f"name must be an identifier, not {self.name!r}")
        if not (self.reads or self.writes):
            raise ValueError(f"requester {self.name} must read, write or both")


#: The ports of a cluster's scratchpad without cores. The order is that of the ``sm_stalls``
#: counters.
REQUESTERS = (
    Requester("activation", reads=True, writes=False, priority=True),
    Requester("weight", reads=True, writes=False),
    Requester("output", reads=False, writes=True),
    Requester("dma_write", reads=False, writes=True),
    Requester("dma_read", reads=True, writes=False),
)


def simd_ports(config: XpuConfig):
    """Names of the ports of the SIMD cores, one for every two; core n uses that of n modulo their
    number."""
    return tuple(f"simd{n or ''}" for n in range(-(-config.simd_cores // 2)))


def requesters_of(config: XpuConfig):
    """The ports of a configuration's scratchpad: those above, and those of the SIMD cores."""
    return (*REQUESTERS, *(Requester(name, reads=True, writes=True)
                           for name in simd_ports(config)))
