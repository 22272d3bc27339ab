"""The engines of a configuration."""

from ..params import XpuConfig
from .formats import CONV, DMA_ND, HEADER, LAUNCH, Engine, Opcode

__all__ = ["STREAMS", "engine_formats", "engine_names", "queue_of", "view_names"]

#: Streams a header can name.
STREAMS = 1 << next(field.width for field in HEADER.fields if field.name == "stream")

_ENGINES = {Opcode.GEMM: Engine.TENSOR, Opcode.CONV: Engine.TENSOR, Opcode.LAUNCH: Engine.SIMD}

#: Engines of the second stream, by that of the first.
_SECOND = {Engine.LOAD: Engine.LOAD1, Engine.STORE: Engine.STORE1}


def engine_formats(config: XpuConfig):
    """``{engine: longest format of its commands}`` in the order of the queues of a ring."""
    engines = {Engine.LOAD: DMA_ND, Engine.STORE: DMA_ND, Engine.TENSOR: CONV}
    if config.simd_cores:
        engines[Engine.SIMD] = LAUNCH
    if config.dma_streams == 2:
        engines |= dict.fromkeys(_SECOND.values(), DMA_ND)
    return engines


def engine_names(config: XpuConfig):
    """Names of the engines' ports, in the same order."""
    return tuple(engine.name.lower() for engine in engine_formats(config))


def view_names(config: XpuConfig):
    """Names of the engines' views of the semaphores."""
    stores = ("store_view", "store1_view")[:config.dma_streams]
    return ("tensor_a_view", "tensor_b_view", *stores)


def queue_of(config: XpuConfig, opcode, stream):
    """Number of the queue of an opcode that an engine executes; ``None`` if there is no such
    stream."""
    engine = _ENGINES.get(opcode) or (Engine.LOAD, Engine.STORE)[opcode & 1]
    if stream:
        engine = _SECOND.get(engine)
    engines = list(engine_formats(config))
    return engines.index(engine) if stream <= 1 and engine in engines else None
