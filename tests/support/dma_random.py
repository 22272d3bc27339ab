"""Random DMA commands whose every byte stays inside given regions."""

from dataclasses import dataclass

from xpu_rtl.command.formats import DMA_LOOPS, DmaAxis, DmaMode, Opcode

__all__ = ["Region", "random_command"]

LOOPS = range(1, DMA_LOOPS + 1)
_TRIES = 200


@dataclass(frozen=True)
class Region:
    """Bytes ``begin`` to ``end`` (system addresses, the last one exclusive) of one memory."""

    begin: int
    end: int

    @property
    def size(self):
        return self.end - self.begin


def _names(side):
    """Stride fields of a side, loop 1 first."""
    return [f"{side}_pitch", *(f"{side}_stride{n}" for n in range(2, DMA_LOOPS + 1))]


def _extent(counts, strides, size):
    """Lowest and highest byte offset (exclusive) that loops around ``size`` bytes reach."""
    low = sum(min(0, (count - 1) * stride) for count, stride in zip(counts, strides, strict=True))
    high = sum(max(0, (count - 1) * stride) for count, stride in zip(counts, strides, strict=True))
    return low, high + size


def _place(rng, region, extent):
    """A base address that keeps the extent inside the region; ``None`` if it does not fit."""
    low, high = extent
    if high - low > region.size:
        return None
    return rng.randrange(region.begin - low, region.end - high + 1)


def _counts(rng, budget, loops):
    """Iterations of the five loops, ``loops`` of them above one, at most ``budget`` in all."""
    counts, left = [1] * DMA_LOOPS, budget
    for n in rng.sample(range(DMA_LOOPS), loops):
        counts[n] = rng.randint(1, max(1, min(left, rng.choice((2, 3, 5, 20)))))
        left //= counts[n]
    return counts


def _stride(rng, unit, word):
    kind = rng.randrange(6)
    if kind == 0:
        return 0
    if kind == 1:
        return rng.randint(-2 * unit, 2 * unit)
    if kind == 2:
        return rng.choice((1, -1)) * word * rng.randint(1, 8)
    return rng.choice((1, 1, -1)) * (unit + rng.randint(0, 3 * word))


def _dense(rng, counts, unit, word):
    """Strides of which no two iterations overlap, in random order of the loops."""
    strides = [0] * DMA_LOOPS
    for n in rng.sample(range(DMA_LOOPS), DMA_LOOPS):
        gap = rng.choice((0, rng.randint(0, 2 * word)))
        strides[n] = rng.choice((1, -1)) * (unit + gap)
        unit = (unit + gap) * counts[n]
    return strides


def _clip(rng, counts, row_bytes, word):
    """Fields of a clipped source: its coordinates, and what of it lies where.

    Returns fields, source strides, extent of the source tensor relative to its byte 0, and the
    offset of the row of loop indices 0 from there.
    """
    x_limit = rng.randint(0, 2 * row_bytes)
    v_limit, u_limit = rng.randint(0, 6), rng.randint(0, 6)
    v_pitch = x_limit + rng.randint(0, word)
    u_pitch = v_pitch * v_limit + rng.randint(0, word)
    pitch = {DmaAxis.NONE: 0, DmaAxis.X: 1, DmaAxis.V: v_pitch, DmaAxis.U: u_pitch}
    fields = {"x_limit": x_limit, "u_limit": u_limit, "v_limit": v_limit,
              "x_start": rng.randint(-row_bytes, row_bytes),
              "u_start": rng.randint(-3, 3), "v_start": rng.randint(-3, 3)}
    strides, free = [], 0
    for n, count in zip(LOOPS, counts, strict=True):
        axis = rng.choice(tuple(DmaAxis))
        fields[f"axis{n}"] = axis
        if axis is DmaAxis.NONE:
            strides.append(rng.choice((0, 0, u_pitch * u_limit)))
            free += strides[-1] * (count - 1)
        else:
            step = rng.randint(-row_bytes, row_bytes) if axis is DmaAxis.X else rng.randint(-3, 3)
            fields[f"step{n}"] = max(-32768, min(32767, step))
            strides.append(fields[f"step{n}"] * pitch[axis])
    start = fields["x_start"] + fields["u_start"] * u_pitch + fields["v_start"] * v_pitch
    return fields, strides, (0, max(1, u_pitch * u_limit + free)), start


def random_command(rng, source, destination, *, word, load, index=None, modes=tuple(DmaMode),
                   most_rows=40, most_bytes=300):
    """Return ``(opcode, fields)`` of a legal command, and its index list or ``None``.

    Destination rows overlap only if ``fields`` says so by a stride smaller than a row, and never in
    TRANSPOSE and SCATTER, where the order of overlapping writes is not defined.

    Parameters
    ----------
    rng : random.Random
        Source of all choices.
    source, destination : Region
        What may be read and written.
    word : int
        Bytes of a word, to choose strides that are multiples of it now and then.
    load : bool
        Opcode of the load or the store side.
    index : Region, optional
        Where an index list may lie; without it there is no GATHER and SCATTER. The caller puts the
        list at ``index_low``, ``index_high``.
    """
    for _ in range(_TRIES):
        mode = rng.choice(modes)
        if mode in (DmaMode.GATHER, DmaMode.SCATTER) and index is None:
            continue
        made = _attempt(rng, mode, source, destination, word, index, most_rows, most_bytes)
        if made is not None:
            fields, entries = made
            short = mode is DmaMode.COPY and all(fields[f"count{n}"] == 1 for n in LOOPS[1:]) \
                and rng.random() < 0.5
            if short:
                fields = {name: value for name, value in fields.items()
                          if name.rstrip("12345") not in ("count", "source_stride", "axis", "step",
                                                          "destination_stride", "mode")}
            side = Opcode.DMA_LOAD if load else Opcode.DMA_STORE
            return (side if short else Opcode(side + 2)), fields, entries
    raise ValueError("the regions are too small for any command")


def _attempt(rng, mode, source, destination, word, index, most_rows, most_bytes):
    row_bytes = rng.choice((rng.randint(1, 4), rng.randint(1, 2 * word),
                            rng.randint(1, most_bytes)))
    counts = _counts(rng, most_rows, rng.randint(0, 4))
    fields, entries = {"mode": int(mode)}, None
    sources, row_source, start, source_extent = [0] * DMA_LOOPS, row_bytes, 0, None
    targets, row_target = None, row_bytes
    if mode is DmaMode.TRANSPOSE:
        element = rng.choice((1, 2, 4))
        columns = rng.randint(1, max(1, row_bytes // element))
        row_bytes = row_source = columns * element
        fields["element_log2"] = element.bit_length() - 1
        matrix = rng.randint(1, most_rows)
        height = matrix * element + rng.choice((0, rng.randint(0, 2 * word)))
        sources = [_stride(rng, row_bytes * (matrix if n else 1), word) for n in range(DMA_LOOPS)]
        targets = _dense(rng, [1, *counts[1:]], columns * height, word)
        counts[0], targets[0] = matrix, height
        # Loop 1 of the destination goes over columns.
        extent = _extent([columns, *counts[1:]], targets, matrix * element)
    elif mode is DmaMode.SCATTER:
        limit = rng.randint(counts[0], 3 * counts[0])
        entries = rng.sample(range(limit), counts[0])
        targets = _dense(rng, [limit, *counts[1:]], row_bytes, word)
        extent = _extent([limit, *counts[1:]], targets, row_target)
    else:
        targets = (_dense(rng, counts, row_bytes, word) if rng.random() < 0.7 else
                   [_stride(rng, row_bytes, word) for _ in counts])
        extent = _extent(counts, targets, row_target)
    if mode is DmaMode.CLIP:
        clip, sources, source_extent, start = _clip(rng, counts, row_bytes, word)
        fields |= clip
    elif mode is not DmaMode.TRANSPOSE:
        sources = [_stride(rng, row_bytes, word) for _ in counts]
    if mode is DmaMode.GATHER:
        limit = rng.randint(1, 3 * counts[0])
        entries = [rng.randrange(limit) for _ in range(counts[0])]
        source_extent = _extent([limit, *counts[1:]], sources, row_source)
    if mode in (DmaMode.FILL, DmaMode.CLIP):
        fields["fill"] = rng.getrandbits(32)
    if source_extent is None:
        source_extent = _extent(counts, sources, row_source)
    source_base = 0 if mode is DmaMode.FILL else _place(rng, source, source_extent)
    target_base = _place(rng, destination, extent)
    if source_base is None or target_base is None:
        return None
    if entries is not None:
        if 4 * len(entries) > index.size - 3:
            return None
        address = rng.randrange(index.begin + 3, index.end - 4 * len(entries) + 1) & -4
        fields |= {"index_low": address & 0xFFFF_FFFF, "index_high": address >> 32,
                   "index_limit": limit}
    for side, base, strides in (("source", (source_base + start) % (1 << 48), sources),
                                ("destination", target_base, targets)):
        fields |= {f"{side}_low": base & 0xFFFF_FFFF, f"{side}_high": base >> 32}
        fields |= dict(zip(_names(side), strides, strict=True))
        if any(not -(1 << 31) <= stride < 1 << 31 for stride in strides):
            return None
    fields |= {"row_bytes": row_bytes, "rows": counts[0],
               **{f"count{n}": counts[n - 1] for n in LOOPS[1:]}}
    return fields, entries
