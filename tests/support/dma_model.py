"""DMA commands on the functional model, beside the golden rows of ``dma_nd`` moved byte by byte."""

import random

import numpy as np

from support import dma_nd
from support.dma_random import Region, random_command
from xpu.commands import Command
from xpu.platforms.model_dma import ModelDma
from xpu.platforms.model_windows import Windows
from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import FaultCause, Opcode

__all__ = ["OPEN", "Memories", "build", "first_fault", "golden", "random_case"]

SM_LSB = 44
OPEN = Windows(((0, 2 ** 32 - 1, 1, 1), (0, 0, 0, 0)), (0, 2 ** 18 - 1, 1, 1), (0, 255, 1, 1))


class Memories:
    """Global memory and scratchpad with the model's DMA on them."""

    def __init__(self, config, memory_bytes, seed=0):
        rng = np.random.default_rng(seed)
        self.config = config
        self.gm = rng.integers(0, 256, memory_bytes, np.uint8)
        self.sm = rng.integers(0, 256, config.sm_bytes, np.uint8)
        self.traffic = {"bytes_read": 0, "bytes_written": 0}
        self.model = ModelDma(config, self.gm, self.sm, self.traffic)

    def run(self, command, windows=OPEN, reached=lambda threshold: 0):
        return self.model.execute(command, windows, reached)

    def access(self):
        """``read``, ``write`` of copies of the memories, and the copies."""
        copies = {Space.GM: self.gm.copy(), Space.SM: self.sm.copy()}

        def place(address, size):
            memory, offset = copies[address >> SM_LSB], address & (1 << SM_LSB) - 1
            assert offset + size <= len(memory)
            return memory, slice(offset, offset + size)

        def read(address, size):
            memory, where = place(address, size)
            return memory[where].tobytes()

        def write(address, data):
            memory, where = place(address, len(data))
            memory[where] = np.frombuffer(data, np.uint8)
        return read, write, copies


def build(opcode, fields):
    """The command of ``dma_nd`` fields."""
    return Command(opcode, **{name: int(value) for name, value in fields.items()})


def golden(memories, opcode, fields, entries=None):
    """Memories after a legal command, as the text of the formats has it."""
    read, write, copies = memories.access()
    rows, fault = dma_nd.expand(fields, opcode, memories.config, entries=entries)
    assert fault is None
    dma_nd.move(rows, read, write)
    return copies


def random_case(memories, seed, **limits):
    """A random legal command, its list put in place: ``(opcode, fields, entries)``."""
    rng = random.Random(seed)
    config, load = memories.config, rng.random() < 0.5
    half_gm, half_sm = len(memories.gm) // 2, config.sm_bytes // 2
    sm = 1 << SM_LSB
    sources = [Region(0, half_gm - 1024), Region(sm, sm + half_sm - 512)]
    lists = [Region(half_gm - 1024, half_gm), Region(sm + half_sm - 512, sm + half_sm)]
    target = (Region(sm + half_sm, sm + config.sm_bytes) if load else
              Region(half_gm, len(memories.gm)))
    opcode, fields, entries = random_command(
        rng, rng.choice(sources), target, word=config.word_bytes, load=load,
        index=rng.choice(lists), **limits)
    if entries is not None:
        address = fields["index_high"] << 32 | fields["index_low"]
        memory = (memories.gm, memories.sm)[address >> SM_LSB]
        offset = address & (1 << SM_LSB) - 1
        memory[offset:offset + 4 * len(entries)] = np.array(entries, "<u4").view(np.uint8)
    return opcode, fields, entries


def _run_fault(config, memory_bytes, windows, address, size, write, only):
    """First fault of the bytes of a run, one after the other."""
    space, offset = address >> SM_LSB, address % (1 << SM_LSB)
    capacity = {0: 1 << SM_LSB, 1: config.sm_bytes}.get(space)
    if capacity is None or offset + size > capacity or (only is not None and space != only):
        return FaultCause.BAD_ADDRESS, address, 0
    if space == Space.SM:
        first, last, *may = windows.sm
        inside = all(first <= (offset + n) // 64 <= last for n in range(size))
        return None if may[write] and inside else (FaultCause.PROTECTION, address, 1 + 16 * write)
    beat, burst = config.bus_bytes, config.burst_beats * config.bus_bytes
    for byte in range(offset, offset + size):
        begins = byte == offset or byte % burst == 0
        if begins:
            begin = byte
            if not any((w[3] if write else w[2]) and w[0] <= byte // 4096 <= w[1]
                       for w in windows.gm):
                return FaultCause.PROTECTION, byte, 16 * write
        if byte >= memory_bytes:
            if write:
                return FaultCause.BUS_WRITE, begin // beat * beat, 3
            return FaultCause.BUS_READ, byte // beat * beat, 3
    return None


def _strips(config, row):
    """Runs of a matrix in the order of execution: (address, bytes, is a write)."""
    element = 1 << row["element_log2"]
    high, wide = config.word_bytes // element, 4 * config.word_bytes
    for top in range(0, row["rows"], high):
        rows = range(top, min(top + high, row["rows"]))
        for left in range(0, row["bytes"], wide):
            size = min(wide, row["bytes"] - left)
            for r in rows:
                yield row["source"] + r * row["source_pitch"] + left, size, 0
            for c in range(left // element, (left + size) // element):
                yield (row["destination"] + c * row["destination_pitch"] + top * element,
                       len(rows) * element, 1)


def first_fault(memories, opcode, fields, windows, entries=None):
    """``(rows that move, (cause, address, info) or None)`` of a command with legal fields."""
    config, count = memories.config, 0
    if entries is not None:
        entries = list(entries)
        address = fields["index_high"] << 32 | fields["index_low"]
        fault = _run_fault(config, len(memories.gm), windows, address, 4 * len(entries), 0, None)
        if fault is not None:
            place = max(0, fault[1] - address) // 4
            entries[place] = dma_nd.fault(fault[0], address=fault[1], info=fault[2])
    rows, end = dma_nd.expand(fields, opcode, config, entries=entries)
    only = Space.SM if opcode in (Opcode.DMA_LOAD, Opcode.DMA_LOAD_ND) else Space.GM
    for row in rows:
        if row["transpose"]:
            runs = list(_strips(config, row))
        else:
            left, copied, source, target = (row[name] for name in
                                            ("left", "copied", "source", "destination"))
            runs = [(target, left, 1), (source + left, copied, 0), (target + left, copied, 1),
                    (target + left + copied, row["bytes"] - left - copied, 1)]
        for address, size, write in runs:
            if size:
                fault = _run_fault(config, len(memories.gm), windows, address % (1 << 48), size,
                                   write, only if write else None)
                if fault is not None:
                    return count, fault
        count += 1
    return count, end and (end["cause"], end["address"], end["info"])
