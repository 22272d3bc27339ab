"""What the text of DMA_COPY and DMA_ND says, in plain Python: a command's rows and its faults.

``expand`` makes the rows of a command, ``move`` carries them out on memories. Checks that need a
row's bytes (its memory, the windows of GM and SM, the bus) are not made here.
"""

import itertools

from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import (
    DMA_LOOPS,
    DMA_ND,
    DmaAxis,
    DmaMode,
    FaultCause,
    Opcode,
)

__all__ = ["expand", "fault", "field_fault", "full", "is_load", "move", "nd"]

LIST_MODES = (DmaMode.GATHER, DmaMode.SCATTER)


def fault(cause, *, address=0, info=0, row=0):
    """A fault report, named as the fields of ``FaultReport``."""
    return {"cause": int(cause), "address": address, "info": int(info), "row": row & 0xFFFFFFFF}


def is_load(opcode):
    """Whether an opcode belongs to the load side."""
    return opcode in (Opcode.DMA_LOAD, Opcode.DMA_LOAD_ND)


def nd(source=0, destination=0, row_bytes=1, rows=1, *, index=0, **fields):
    """Fields of a DMA_ND command from whole addresses; counts not given are 1, the rest is 0."""
    counts = {f"count{n}": 1 for n in range(2, DMA_LOOPS + 1)}
    halves = {}
    for name, address in (("source", source), ("destination", destination), ("index", index)):
        halves |= {f"{name}_low": address & 0xFFFFFFFF, f"{name}_high": address >> 32}
    return {**counts, **halves, "row_bytes": row_bytes, "rows": rows, **fields}


def full(fields, opcode):
    """All fields of a command as DMA_ND. Those a short opcode lacks get their neutral values."""
    given = {field.name: 0 for field in DMA_ND.fields} | fields
    if opcode in (Opcode.DMA_LOAD_ND, Opcode.DMA_STORE_ND):
        return given
    names = [field.name for field in DMA_ND.fields]
    short = names[:names.index("mode")]
    return ({name: 0 for name in names} | {f"count{n}": 1 for n in range(2, DMA_LOOPS + 1)}
            | {name: given[name] for name in short})


def field_fault(fields, opcode, config, windows=None):
    """The first of the faults a command has before any row moves, or None.

    ``windows`` are those of its ring, by the names of ``RingWindows``; None allows everything.
    """
    f = full(fields, opcode)
    mode, element = f["mode"], f["element_log2"]
    transpose = mode == DmaMode.TRANSPOSE
    bad_fields = {
        "row_bytes": not 1 <= f["row_bytes"] < 1 << 24,
        "rows": f["rows"] == 0,
        "reserved1": f["reserved1"] != 0,
        "mode": mode > DmaMode.SCATTER,
        "element_log2": (element > 2 or (element and not transpose)
                         or f["row_bytes"] % (1 << element) != 0),
        "reserved2": f["reserved2"] != 0,
        "reserved3": f["reserved3"] != 0,
        **{f"count{n}": f[f"count{n}"] == 0 for n in range(2, DMA_LOOPS + 1)},
        "reserved4": f["reserved4"] != 0,
        "x_limit": mode == DmaMode.CLIP and f["x_limit"] >= 1 << 31,
    }
    for name, bad in bad_fields.items():
        if bad:
            return fault(FaultCause.BAD_FIELD, info=DMA_ND.lsb[name])
    semaphore = f["progress_semaphore"]
    if semaphore >= config.semaphores:
        return fault(FaultCause.BAD_SEMAPHORE, info=DMA_ND.lsb["progress_semaphore"])
    if semaphore and windows is not None:
        signal = is_load(opcode)
        if not (windows["signal" if signal else "wait"]
                and windows["semaphore_first"] <= semaphore <= windows["semaphore_last"]):
            return fault(FaultCause.PROTECTION, address=semaphore,
                         info=Space.SEMAPHORE + (16 if signal else 0))
    for name in ("source", "destination", "index"):
        used = {"source": mode != DmaMode.FILL, "destination": True, "index": mode in LIST_MODES}
        address = f[f"{name}_low"] | f[f"{name}_high"] << 32
        if used[name] and address >> 48:
            return fault(FaultCause.BAD_ADDRESS, address=address)
    if mode in LIST_MODES and f["index_low"] % 4:
        return fault(FaultCause.BAD_FIELD, info=DMA_ND.lsb["index_low"])
    return None


def _wrap32(value):
    """``value`` as 32-bit two's complement."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def _clip(f, loops):
    """``(left, copied)`` of the row with the loop indices ``loops``, i1 first."""
    at = {DmaAxis.X: f["x_start"], DmaAxis.U: f["u_start"], DmaAxis.V: f["v_start"],
          DmaAxis.NONE: 0}
    for n, i in enumerate(loops, 1):
        at[DmaAxis(f[f"axis{n}"])] += i * f[f"step{n}"]
    x, u, v = (_wrap32(at[axis]) for axis in (DmaAxis.X, DmaAxis.U, DmaAxis.V))
    start = max(0, -x)
    end = min(f["row_bytes"], f["x_limit"] - x)
    if not (0 <= u < f["u_limit"] and 0 <= v < f["v_limit"] and start < end):
        return f["row_bytes"], 0
    return start, end - start


def expand(fields, opcode, config, *, windows=None, entries=None, ring=0, index=0):
    """Return ``(rows, fault)``: the good rows of a command, and the fault that ends it or None.

    Each row has the fields of ``NdRow`` except ``fault``, plus ``mode`` and ``number``. In
    TRANSPOSE a row is a matrix. ``entries`` (GATHER, SCATTER) is the index list, or a function
    that returns it for the number of the iteration of the outer loops; an entry may be a fault
    report, which it ends with.
    """
    refused = field_fault(fields, opcode, config, windows)
    if refused:
        return [], refused
    f = full(fields, opcode)
    mode = DmaMode(f["mode"])
    transpose = mode == DmaMode.TRANSPOSE
    counts = [1 if transpose else f["rows"]] + [f[f"count{n}"] for n in range(2, DMA_LOOPS + 1)]
    strides = {side: [f[f"{side}_pitch"]]
               + [f[f"{side}_stride{n}"] for n in range(2, DMA_LOOPS + 1)]
               for side in ("source", "destination")}
    start = {side: f[f"{side}_low"] | f[f"{side}_high"] << 32 for side in strides}
    rows = []
    for number, outer_first in enumerate(itertools.product(*map(range, reversed(counts)))):
        loops = list(reversed(outer_first))
        factors = {side: list(loops) for side in strides}
        if mode in LIST_MODES:
            outer = number // f["rows"]
            entry = (entries(outer) if callable(entries) else entries)[loops[0]]
            if isinstance(entry, dict):
                return rows, {**entry, "row": number & 0xFFFFFFFF}
            if entry >= f["index_limit"]:
                where = (f["index_low"] | f["index_high"] << 32) + 4 * loops[0]
                return rows, fault(FaultCause.BAD_INDEX, address=where, info=entry, row=number)
            factors["source" if mode == DmaMode.GATHER else "destination"][0] = entry
        at = {side: (start[side] + sum(i * stride for i, stride in
                                       zip(factors[side], strides[side], strict=True))) % (1 << 48)
              for side in strides}
        left, copied = 0, f["row_bytes"]
        if mode == DmaMode.FILL:
            left, copied = f["row_bytes"], 0
        elif mode == DmaMode.CLIP:
            left, copied = _clip(f, loops)
        rows.append({
            **at, "bytes": f["row_bytes"], "left": left, "copied": copied,
            "transpose": int(transpose), "rows": f["rows"], "source_pitch": f["source_pitch"],
            "destination_pitch": f["destination_pitch"], "element_log2": f["element_log2"],
            "fill": f["fill"], "first": int(number == 0), "last": 0,
            "semaphore": f["progress_semaphore"],
            "threshold": (f["progress_value"] + number) % (1 << config.semaphore_width),
            "ring": ring, "index": index, "mode": mode, "number": number,
        })
    rows[-1]["last"] = 1
    return rows, None


def move(rows, read, write):
    """Carry out rows in order; ``read(address, n) -> bytes`` and ``write(address, bytes)`` take
    system addresses."""
    for row in rows:
        if row["transpose"]:
            _transpose(row, read, write)
            continue
        n, left, copied = row["bytes"], row["left"], row["copied"]
        value = bytearray((row["fill"].to_bytes(4, "little") * (n // 4 + 1))[:n])
        if copied:
            value[left:left + copied] = read((row["source"] + left) % (1 << 48), copied)
        write(row["destination"], bytes(value))


def _transpose(row, read, write):
    element = 1 << row["element_log2"]
    matrix = [read((row["source"] + r * row["source_pitch"]) % (1 << 48), row["bytes"])
              for r in range(row["rows"])]
    for c in range(row["bytes"] // element):
        column = b"".join(line[c * element:(c + 1) * element] for line in matrix)
        write((row["destination"] + c * row["destination_pitch"]) % (1 << 48), column)
