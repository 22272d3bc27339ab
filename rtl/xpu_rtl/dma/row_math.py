"""Clipping of rows and addresses picked by an index."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .stages import address_48
from .types import BYTES_WIDTH

__all__ = ["MathRow", "RowMath", "RowPlace"]


class MathRow(data.StructLayout):
    """A row to be worked out.

    Fields: ``source``, ``destination``; ``indexed`` (``entry`` * ``pitch`` is to be added to the
    source, with ``scatter`` to the destination); ``fill`` (the whole row is filled); ``clip`` (what
    of it is outside the bounds is filled, else nothing): ``x``, ``u``, ``v`` (two's complement),
    ``x_limit``, ``u_limit``, ``v_limit``; ``bytes``; ``context`` (copied to the output).
    """

    def __init__(self, context):
        super().__init__({
            "source": address_48(), "destination": address_48(), "indexed": unsigned(1),
            "scatter": unsigned(1), "entry": unsigned(32), "pitch": signed(32),
            "fill": unsigned(1), "clip": unsigned(1), "x": signed(32), "u": signed(32),
            "v": signed(32), "x_limit": unsigned(31), "u_limit": unsigned(16),
            "v_limit": unsigned(16), "bytes": unsigned(BYTES_WIDTH), "context": context,
        })


class RowPlace(data.StructLayout):
    """Addresses and extent of a row. Fields as in ``NdRow``, and ``context``."""

    def __init__(self, context):
        super().__init__({
            "source": address_48(), "destination": address_48(), "bytes": unsigned(BYTES_WIDTH),
            "left": unsigned(BYTES_WIDTH), "copied": unsigned(BYTES_WIDTH), "context": context,
        })


class RowMath(wiring.Component):
    """Clip rows to their source's bounds, and scale index entries to addresses.

    Byte j of a clipped row is copied if 0 <= x + j < x_limit, 0 <= u < u_limit and 0 <= v <
    v_limit. If none is, ``left`` is ``bytes`` and ``copied`` 0. Addresses are modulo 2**48; the
    entry is unsigned, the pitch signed.

    Parameters
    ----------
    context : ShapeLike
        Whatever belongs to a row.

    Members
    -------
    i : In(stream.Signature(MathRow(context)))
        Rows.
    o : Out(stream.Signature(RowPlace(context)))
        Their places, in order.
    busy : Out(1)
        A row is inside.

    Timing
    ------
    Latency: 3 cycles from a transfer on ``i`` to ``o.valid`` (``LATENCY``).
    Throughput: one row per cycle.
    Backpressure: full; all stages stop together, while ``o.ready`` is low.
    Combinational paths: ``o.ready`` to ``i.ready``.
    Reset: valid flags.
    """

    LATENCY = 3

    def __init__(self, context):
        self._context = context
        super().__init__({"i": In(stream.Signature(MathRow(context))),
                          "o": Out(stream.Signature(RowPlace(context))), "busy": Out(1)})

    def elaborate(self, platform):
        m = Module()
        row = self.i.p
        move = Signal()
        valid = Signal(self.LATENCY)        # bit n: stage n + 1 holds a row
        m.d.comb += [
            move.eq(self.o.ready), self.i.ready.eq(move),
            self.o.valid.eq(valid[-1]), self.busy.eq(valid.any()),
        ]
        with m.If(move):
            m.d.sync += valid.eq(Cat(self.i.valid, valid[:-1]))

        def stage(number, **shapes):
            """Registers of a stage, and the condition under which they take new values."""
            enable = Signal(name=f"s{number}_enable")
            offered = self.i.valid if number == 1 else valid[number - 2]
            m.d.comb += enable.eq(move & offered)
            return enable, {name: Signal(shape, reset_less=True, name=f"s{number}_{name}")
                            for name, shape in shapes.items()}

        # Stage 1: distances to the bounds; partial products, each of halves of entry and pitch.
        enable, s1 = stage(
            1, scaled=address_48(), other=address_48(), scatter=1, indexed=1, clip=1,
            low=32, mid0=signed(32), mid1=unsigned(32), high=16, skip=32, room=signed(33),
            before=1, outside=1, bytes=BYTES_WIDTH, context=self._context)
        inside = Signal()
        entry_low, entry_high = row.entry[:16], row.entry[16:]
        pitch_low, pitch_high = row.pitch[:16], row.pitch[16:].as_signed()
        m.d.comb += inside.eq((row.u[16:] == 0) & (row.u[:16] < row.u_limit)
                              & (row.v[16:] == 0) & (row.v[:16] < row.v_limit))
        with m.If(enable):
            m.d.sync += [
                s1["scaled"].eq(Mux(row.scatter, row.destination, row.source)),
                s1["other"].eq(Mux(row.scatter, row.source, row.destination)),
                s1["scatter"].eq(row.scatter), s1["indexed"].eq(row.indexed),
                s1["clip"].eq(row.clip), s1["bytes"].eq(row.bytes),
                s1["context"].eq(row.context), s1["before"].eq(row.clip & row.x[-1]),
                s1["outside"].eq(row.fill | (row.clip & (~inside | (row.x_limit == 0)))),
            ]
            with m.If(row.clip):
                m.d.sync += [s1["skip"].eq(-row.x), s1["room"].eq(row.x_limit - row.x)]
            with m.If(row.indexed):
                m.d.sync += [
                    s1["low"].eq(entry_low * pitch_low), s1["mid0"].eq(entry_low * pitch_high),
                    s1["mid1"].eq(entry_high * pitch_low), s1["high"].eq(entry_high * pitch_high),
                ]

        # Stage 2: bytes before the first and the last copied one; halves of the address.
        enable, s2 = stage(
            2, scaled=address_48(), other=address_48(), scatter=1, mid=32, start=BYTES_WIDTH,
            end=BYTES_WIDTH, none=1, bytes=BYTES_WIDTH, context=self._context)
        clip, indexed, room = s1["clip"], s1["indexed"], s1["room"]
        skips_all = Signal()
        fits = Signal()
        m.d.comb += [skips_all.eq(s1["skip"] >= s1["bytes"]), fits.eq(room >= s1["bytes"])]
        with m.If(enable):
            m.d.sync += [
                s2["scaled"].eq(s1["scaled"] + (Cat(s1["low"], s1["high"])
                                                & indexed.replicate(48))),
                s2["mid"].eq((s1["mid0"].as_unsigned() + s1["mid1"]) & indexed.replicate(32)),
                s2["other"].eq(s1["other"]), s2["scatter"].eq(s1["scatter"]),
                s2["start"].eq(Mux(s1["before"], s1["skip"][:BYTES_WIDTH], 0)),
                s2["end"].eq(Mux(clip & ~fits, room[:BYTES_WIDTH], s1["bytes"])),
                s2["none"].eq(s1["outside"] | (s1["before"] & skips_all) | (clip & (room <= 0))),
                s2["bytes"].eq(s1["bytes"]), s2["context"].eq(s1["context"]),
            ]

        # Stage 3: the difference of both; the whole address.
        enable, s3 = stage(3, scaled=address_48(), other=address_48(), scatter=1,
                           left=BYTES_WIDTH, copied=BYTES_WIDTH, bytes=BYTES_WIDTH,
                           context=self._context)
        with m.If(enable):
            m.d.sync += [
                s3["scaled"][:16].eq(s2["scaled"][:16]),
                s3["scaled"][16:].eq(s2["scaled"][16:] + s2["mid"]),
                s3["other"].eq(s2["other"]), s3["scatter"].eq(s2["scatter"]),
                s3["left"].eq(Mux(s2["none"], s2["bytes"], s2["start"])),
                s3["copied"].eq(Mux(s2["none"], 0, s2["end"] - s2["start"])),
                s3["bytes"].eq(s2["bytes"]), s3["context"].eq(s2["context"]),
            ]
        place = self.o.p
        m.d.comb += [
            place.source.eq(Mux(s3["scatter"], s3["other"], s3["scaled"])),
            place.destination.eq(Mux(s3["scatter"], s3["scaled"], s3["other"])),
            place.bytes.eq(s3["bytes"]), place.left.eq(s3["left"]), place.copied.eq(s3["copied"]),
            place.context.eq(s3["context"]),
        ]
        return m
