"""Strips of a matrix, what becomes of them, and streams around a transposer in ``amaranth.sim``."""

import random
from dataclasses import dataclass

import numpy as np
from amaranth import ResetInserter, Signal, Value
from amaranth.sim import Simulator

from xpu_rtl.dma.stages import STRIP_WORDS, FormRow, PlaceRun
from xpu_rtl.dma.types import AlignedWord

__all__ = ["Strip", "TransposeRig", "cut", "random_strip"]


@dataclass
class Strip:
    """``rows``: uint8 array, one matrix row (its bytes) per row; ``lanes``: of each row's first
    source byte; ``places``: lane of each column's first destination byte."""

    element_log2: int
    rows: np.ndarray
    lanes: list
    places: list

    @property
    def columns(self):
        """Bytes of each column, one array row each."""
        rows, size = self.rows.shape
        elements = self.rows.reshape(rows, size >> self.element_log2, 1 << self.element_log2)
        return elements.transpose(1, 0, 2).reshape(size >> self.element_log2, -1)

    def source(self, word_bytes, rng):
        """``(FormRow fields, [words])`` of each row; bytes around the row are random."""
        for number, (lane, row) in enumerate(zip(self.lanes, self.rows, strict=True)):
            count = -(-(lane + len(row)) // word_bytes)
            memory = bytearray(rng.randbytes(count * word_bytes))
            memory[lane:lane + len(row)] = row.tobytes()
            fields = {"lane": lane, "end": (lane + len(row) - 1) % word_bytes, "beats": count - 1,
                      "shift": rng.randrange(word_bytes), "wrap": rng.randrange(2),
                      "transpose": 1, "element_log2": self.element_log2, "strip_row": number,
                      "strip_last": number == len(self.rows) - 1}
            yield fields, [int.from_bytes(memory[n:n + word_bytes], "little")
                           for n in range(0, len(memory), word_bytes)]

    def destination(self, word_bytes):
        """``(PlaceRun fields, [word])`` of each column; a word is ``({lane: byte}, first, last)``.
        """
        for lane, column in zip(self.places, self.columns, strict=True):
            words = [{}]
            for n, byte in enumerate(column):
                at, within = divmod(lane + n, word_bytes)
                if at == len(words):
                    words.append({})
                words[at][within] = int(byte)
            yield ({"lane": lane, "bytes": len(column) - 1},
                   [(word, n == 0, n == len(words) - 1) for n, word in enumerate(words)])


def cut(matrix, element_log2, word_bytes, *, source=(0, None), destination=(0, None)):
    """Cut a matrix (uint8, rows of bytes) into strips, a band of rows after the other.

    ``source`` and ``destination`` are ``(first byte, pitch)`` in their memories; without a pitch,
    rows follow each other.
    """
    rows, size = matrix.shape
    element = 1 << element_log2
    source_pitch = size if source[1] is None else source[1]
    destination_pitch = rows * element if destination[1] is None else destination[1]
    strips = []
    for top in range(0, rows, word_bytes // element):
        for left in range(0, size, STRIP_WORDS * word_bytes):
            part = matrix[top:top + word_bytes // element, left:left + STRIP_WORDS * word_bytes]
            strips.append(Strip(
                element_log2, part,
                [(source[0] + (top + r) * source_pitch + left) % word_bytes
                 for r in range(part.shape[0])],
                [(destination[0] + (left // element + c) * destination_pitch + top * element)
                 % word_bytes for c in range(part.shape[1] // element)]))
    return strips


def random_strip(rng, word_bytes):
    """A strip with anything random (``numpy`` generator)."""
    element_log2 = int(rng.integers(0, 3))
    element = 1 << element_log2
    most = word_bytes // element
    rows = int(rng.choice([1, most, rng.integers(1, most + 1)]))
    most = STRIP_WORDS * word_bytes // element
    columns = int(rng.choice([1, most, rng.integers(1, most + 1), rng.integers(1, 4)]))
    columns = min(columns, most)
    return Strip(element_log2, rng.integers(0, 256, (rows, columns * element), dtype=np.uint8),
                 rng.integers(0, word_bytes, rows).tolist(),
                 rng.integers(0, word_bytes, columns).tolist())


class _Source:
    """Offers payloads with chance ``valid_p`` per cycle; what is not valid is noise."""

    def __init__(self, port, bits, payloads, rng, valid_p):
        self.port, self.payloads, self.rng, self.valid_p = port, payloads, rng, valid_p
        self.value, self.bits = Value.cast(port.payload), bits
        self.sent, self.offered = 0, False

    def drive(self, ctx):
        if self.offered:
            return
        self.offered = self.sent < len(self.payloads) and self.rng.random() < self.valid_p
        ctx.set(self.port.valid, self.offered)
        ctx.set(self.value, self.payloads[self.sent] if self.offered
                else self.rng.getrandbits(self.bits))

    def sample(self, ready):
        """Return the number of the payload that is transferred, or ``None``."""
        if not (self.offered and ready):
            return None
        self.offered = False
        self.sent += 1
        return self.sent - 1


class TransposeRig:
    """Send strips through a transposer and compare what comes out with the definition.

    Checks on every cycle that a stalled ``o`` keeps ``valid`` and ``payload``, and ``busy``.

    Attributes: ``in_cycles``, ``out_cycles`` (of each word on ``i`` and ``o``); ``strip_ends``
    (cycle of each strip's last source word); ``valid_cycles`` (of each new offer on ``o``).
    """

    def __init__(self, dut, config):
        self.dut, self.config = dut, config
        self.in_cycles, self.out_cycles, self.strip_ends, self.valid_cycles = [], [], [], []

    def run(self, strips, *, row_p=1.0, word_p=1.0, place_p=1.0, ready_p=1.0, patient=0, seed=0,
            reset_at=None):
        """``patient``: cycles of ``o.valid`` the sink waits for before it is ready; ``reset_at``:
        cycle of a reset, after which all strips are sent once more."""
        dut, size = self.dut, self.config.word_bytes
        rng = random.Random(f"{seed}-strips")
        row_layout, place_layout = FormRow(self.config), PlaceRun(self.config)
        rows, words, places, expected, ends = [], [], [], [], {}
        for strip in strips:
            for fields, row_words in strip.source(size, rng):
                rows.append(row_layout.const(fields).as_bits())
                words += row_words
            before = len(expected)
            for fields, run_words in strip.destination(size):
                places.append(place_layout.const(fields).as_bits())
                expected += run_words
            ends[len(rows) - 1] = len(expected) - before
        chances = {"row": row_p, "word": word_p, "place": place_p}
        sources = [_Source(port, bits, payloads, random.Random(f"{seed}-{name}"), chances[name])
                   for port, bits, payloads, name in (
                       (dut.row, row_layout.size, rows, "row"),
                       (dut.i, self.config.word_width, words, "word"),
                       (dut.place, place_layout.size, places, "place"))]
        slowest = min(row_p, word_p, place_p, ready_p)
        timeout = 100 + int(4 * (len(words) + (1 + patient) * len(expected)) / slowest)
        timeout += reset_at or 0
        out_layout = AlignedWord(self.config, 0)
        reset = Signal()

        async def bench(ctx):
            rng_o = random.Random(f"{seed}-o")
            signals = [dut.row.ready, dut.i.ready, dut.place.ready, dut.o.valid,
                       Value.cast(dut.o.payload), dut.busy]
            owed, stalled, waited, cycle, taken = 0, None, 0, 0, 0
            while taken < len(expected) or any(s.sent < len(s.payloads) for s in sources):
                for source in sources:
                    source.drive(ctx)
                if cycle == reset_at:
                    ctx.set(reset, 1)
                    await ctx.tick()
                    ctx.set(reset, 0)
                    owed, stalled, waited, taken = 0, None, 0, 0
                    for source in sources:
                        source.sent, source.offered = 0, False
                        source.drive(ctx)
                ready = waited >= patient and rng_o.random() < ready_p
                ctx.set(dut.o.ready, ready)
                _, _, *readies, valid, bits, busy = await ctx.tick().sample(*signals)
                assert busy == (owed > 0), f"busy is {busy} with {owed} words inside, {cycle=}"
                row, word, _ = (source.sample(r)
                                for source, r in zip(sources, readies, strict=True))
                if stalled is not None:
                    assert valid, "valid fell while stalled"
                    assert bits == stalled, "payload changed while stalled"
                elif valid:
                    self.valid_cycles.append(cycle)
                stalled = bits if valid and not ready else None
                waited = 0 if valid and ready else waited + bool(valid)
                if word is not None:
                    self.in_cycles.append(cycle)
                if row in ends:
                    self.strip_ends.append(cycle)
                    owed += ends[row]
                if valid and ready:
                    assert taken < len(expected), "a word too many"
                    self._compare(out_layout.from_bits(bits), expected[taken], taken)
                    self.out_cycles.append(cycle)
                    taken, owed = taken + 1, owed - 1
                cycle += 1
                assert cycle < timeout, f"{taken} of {len(expected)} words after {timeout} cycles"
            for source in sources:
                source.drive(ctx)
            ctx.set(dut.o.ready, 1)
            for _ in range(12):
                _, _, valid, busy = await ctx.tick().sample(dut.o.valid, dut.busy)
                assert not valid
                assert not busy

        sim = Simulator(ResetInserter(reset)(dut))
        sim.add_clock(1e-9)
        sim.add_testbench(bench)
        sim.run()
        return self

    @staticmethod
    def _compare(word, expected, number):
        bytes_, first, last = expected
        got = {n: word.data >> (8 * n) & 0xFF for n in range(64) if word.strobe >> n & 1}
        assert (got, word.first, word.last) == (bytes_, first, last), f"word {number}"
