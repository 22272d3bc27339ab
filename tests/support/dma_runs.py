"""What a splitter of rows has to offer, and what its runs move; plain Python."""

from dataclasses import dataclass, field

from xpu_rtl.address_map import Space
from xpu_rtl.command.formats import FaultCause
from xpu_rtl.dma.stages import STRIP_WORDS, RunKind

__all__ = ["Plan", "gm", "moved_by_rows", "moved_by_runs", "nd_row", "open_windows", "sm", "split"]

GM_BYTES = 1 << 44
ADDRESSES = 1 << 48


def gm(offset):
    """Address of a byte of GM."""
    return Space.GM << 44 | offset


def sm(offset):
    """Address of a byte of SM."""
    return Space.SM << 44 | offset


def nd_row(source, destination, size, **fields):
    """Fields of an ``NdRow``; the only row of its command and copied whole, unless told."""
    return {"source": source % ADDRESSES, "destination": destination % ADDRESSES, "bytes": size,
            "left": 0, "copied": size, "transpose": 0, "rows": 0, "source_pitch": 0,
            "destination_pitch": 0, "element_log2": 0, "fill": 0, "first": 1, "last": 1,
            "fault": 0, "semaphore": 0, "threshold": 0, "ring": 0, "index": 0, **fields}


def open_windows(config):
    """Windows of all rings that allow everything."""
    ring = {"sm_first": 0, "sm_last": (1 << 18) - 1, "sm_read": 1, "sm_write": 1}
    return [dict(ring) for _ in range(config.rings)]


@dataclass
class Plan:
    """What each stream may offer, in order, and how much of it at least.

    They differ only after a fault. ``source_report``, ``destination_report``: ``(cause, address,
    info)`` of the bad run that ends the list, or None.
    """

    source: list = field(default_factory=list)
    form: list = field(default_factory=list)
    place: list = field(default_factory=list)
    destination: list = field(default_factory=list)
    source_report: tuple | None = None
    destination_report: tuple | None = None
    least: dict = field(default_factory=lambda: dict.fromkeys(
        ("source", "form", "place", "destination"), 0))

    def reach(self, *names):
        """All that is in the lists now has to be offered."""
        for name in names:
            self.least[name] = len(getattr(self, name))


def _bad(config, windows, address, size, spaces, *, write):
    """Report of a run that may not be accessed, else None."""
    space, offset = divmod(address, GM_BYTES)
    limit = {Space.GM: GM_BYTES, Space.SM: config.sm_bytes}.get(space, 0)
    if space not in spaces or offset + size > limit:
        return (FaultCause.BAD_ADDRESS, address, 0)
    if space == Space.SM:
        lines = range(windows["sm_first"], windows["sm_last"] + 1)
        permitted = windows["sm_write" if write else "sm_read"]
        if not permitted or offset // 64 not in lines or (offset + size - 1) // 64 not in lines:
            return (FaultCause.PROTECTION, address, Space.SM + 16 * write)
    return None


def _extent(config, address, size):
    """Where a run lies in its words."""
    offset, width = address % GM_BYTES, config.word_bytes
    end = offset + size - 1
    return {"beat": offset // width, "beats": end // width - offset // width,
            "lane": offset % width, "end": end % width}


def _segments(row):
    """``(offset, bytes, filled)`` of the segments of a plain row."""
    right = row["left"] + row["copied"]
    for offset, size, filled in ((0, row["left"], True), (row["left"], row["copied"], False),
                                 (right, row["bytes"] - right, True)):
        if size:
            yield offset, size, filled


def split(config, rows, *, load, windows):
    """Return the ``Plan`` for ``rows`` (as of ``nd_row``)."""
    plan = Plan()
    source_open = destination_open = must = True
    target = (Space.SM,) if load else (Space.GM,)
    width = config.word_bytes

    def source_run(row, address, size, pattern=None, **flags):
        extent = _extent(config, address, size)
        kind = RunKind.SM if address // GM_BYTES == Space.SM else RunKind.GM
        run = {"kind": kind, **extent, **flags, "ring": row["ring"], "index": row["index"]}
        if pattern is not None:
            run |= {"kind": RunKind.FILL, "fill": pattern}
            del run["beat"]
        return run

    def fault_run(row, **flags):
        return {"kind": RunKind.FAULT, **flags, "ring": row["ring"], "index": row["index"]}

    def destination_run(row, address, size, *, direct, row_last, bad):
        flags = {"fault": int(bad is not None), "row_last": row_last,
                 "last": row_last & row["last"], "ring": row["ring"]}
        if bad is not None:
            return flags
        extent = _extent(config, address, size)
        return {"beat": extent["beat"], "beats": extent["beats"], "direct": direct,
                "semaphore": row["semaphore"], **flags}

    for row in rows:
        ring = windows[row["ring"]]
        if row["fault"]:
            if source_open:
                plan.source.append({"kind": RunKind.FAULT, "first": row["first"],
                                    "index": row["index"]})
            if must:
                plan.reach("source")
            return plan
        if not row["transpose"]:
            destination_open &= source_open
            segments = list(_segments(row))
            for n, (offset, size, filled) in enumerate(segments):
                source = (row["source"] + offset) % ADDRESSES
                destination = (row["destination"] + offset) % ADDRESSES
                row_last = int(n == len(segments) - 1)
                flags = {"first": row["first"] & (n == 0), "row_last": row_last,
                         "last": row_last & row["last"]}
                if source_open:
                    bad = None if filled else _bad(config, ring, source, size,
                                                   (Space.GM, Space.SM), write=False)
                    if bad:
                        plan.source.append(fault_run(row, **flags))
                        plan.source_report = bad
                        source_open = destination_open = False
                        if must:
                            plan.reach("source")
                    else:
                        pattern = None
                        if filled:
                            # Byte i of a word is byte i - destination of the row, modulo 4.
                            values = row["fill"].to_bytes(4, "little")
                            pattern = int.from_bytes(
                                (values[(i - row["destination"]) % 4] for i in range(4)), "little")
                        run = source_run(row, destination if filled else source, size, pattern,
                                         **flags)
                        plan.source.append(run)
                        shift = (destination - (destination if filled else source)) % width
                        plan.form.append({
                            "lane": run["lane"], "end": run["end"], "beats": run["beats"],
                            "shift": shift, "wrap": int(destination % width < run["lane"]),
                            "transpose": 0})
                if destination_open:
                    bad = _bad(config, ring, destination, size, target, write=True)
                    direct = int(filled or source // GM_BYTES != Space.GM)
                    plan.destination.append(destination_run(
                        row, destination, size, direct=direct, row_last=row_last, bad=bad))
                    if bad:
                        plan.destination_report = bad
                        destination_open = False
                if must:
                    plan.reach("source", "form", "destination")
                must &= source_open and destination_open
            continue

        # A matrix. `complete`: columns, in the order of all blocks, whose strips are read.
        element = 1 << row["element_log2"]
        height, strip_bytes = width // element, STRIP_WORDS * width
        source_pitch, destination_pitch = row["source_pitch"], row["destination_pitch"]
        complete = 0
        for r0 in range(0, row["rows"], height):
            count = min(height, row["rows"] - r0)
            for c0 in range(0, row["bytes"], strip_bytes):
                size = min(strip_bytes, row["bytes"] - c0)
                for r in range(count):
                    if not source_open:
                        continue
                    source = (row["source"] + (r0 + r) * source_pitch + c0) % ADDRESSES
                    row_last = int(r0 + r == row["rows"] - 1 and c0 + size == row["bytes"])
                    flags = {"first": row["first"] & (r0 + r + c0 == 0), "row_last": row_last,
                             "last": row_last & row["last"]}
                    bad = _bad(config, ring, source, size, (Space.GM, Space.SM), write=False)
                    if bad:
                        plan.source.append(fault_run(row, **flags))
                        plan.source_report = bad
                        source_open = False
                        continue
                    run = source_run(row, source, size, **flags)
                    plan.source.append(run)
                    plan.form.append({
                        "lane": run["lane"], "end": run["end"], "beats": run["beats"],
                        "transpose": 1, "element_log2": row["element_log2"], "strip_row": r,
                        "strip_last": int(r == count - 1)})
                if source_open:
                    complete += size // element
        if must:
            plan.reach("source", "form")
        column = 0
        for r0 in range(0, row["rows"], height):
            size = min(height, row["rows"] - r0) * element
            for c in range(row["bytes"] // element):
                if not destination_open:
                    continue
                destination = (row["destination"] + c * destination_pitch
                               + r0 * element) % ADDRESSES
                row_last = int(r0 + height >= row["rows"] and (c + 1) * element == row["bytes"])
                bad = _bad(config, ring, destination, size, target, write=True)
                plan.destination.append(destination_run(
                    row, destination, size, direct=0, row_last=row_last, bad=bad))
                if bad:
                    plan.destination_report = bad
                    destination_open = False
                else:
                    plan.place.append({"lane": destination % width, "bytes": size - 1})
                column += 1
                if must and column <= complete:
                    plan.reach("destination", "place")
        must &= source_open and destination_open
    return plan


def moved_by_rows(rows):
    """``(destination address, what)`` of every byte, sorted, row by row; ``what`` is a source
    address or, if filled, ``-1 - value``."""
    for row in rows:
        moved = []
        if row["transpose"]:
            element = 1 << row["element_log2"]
            for r in range(row["rows"]):
                for byte in range(row["bytes"]):
                    c, part = divmod(byte, element)
                    moved.append((row["destination"] + c * row["destination_pitch"] + r * element
                                  + part, row["source"] + r * row["source_pitch"] + byte))
        else:
            fill = row["fill"].to_bytes(4, "little")
            for j in range(row["bytes"]):
                copied = row["left"] <= j < row["left"] + row["copied"]
                moved.append((row["destination"] + j,
                              row["source"] + j if copied else -1 - fill[j % 4]))
        yield sorted((a % ADDRESSES, b if b < 0 else b % ADDRESSES) for a, b in moved)


def moved_by_runs(config, offered, *, load):
    """The same of what the streams offered, as aligner, transposer and sink would do it."""
    width, space = config.word_bytes, (Space.SM if load else Space.GM)
    destinations, places = iter(offered["destination"]), iter(offered["place"])
    moved, strip, sources_done = [], [], False
    for run, form in zip(offered["source"], offered["form"], strict=True):
        count = run["beats"] * width + run["end"] - run["lane"] + 1
        assert count > 0
        if run["kind"] is RunKind.FILL:
            fill = run["fill"].to_bytes(4, "little")
            what = [-1 - fill[(run["lane"] + n) % 4] for n in range(count)]
        else:
            first = run["beat"] * width + run["lane"]
            first += (Space.SM if run["kind"] is RunKind.SM else Space.GM) << 44
            what = list(range(first, first + count))
        assert (form["lane"], form["end"], form["beats"]) == (
            run["lane"], run["end"], run["beats"])
        sources_done |= bool(run["row_last"])
        if not form["transpose"]:
            lane = (form["lane"] + form["shift"]) % width
            assert form["wrap"] == (form["lane"] + form["shift"] >= width)
            pieces = [(lane, what, next(destinations))]
        else:
            assert form["strip_row"] == len(strip)
            strip.append(what)
            if not form["strip_last"]:
                continue
            element, pieces = 1 << form["element_log2"], []
            for c in range(0, count, element):
                place = next(places)
                column = [byte for row in strip for byte in row[c:c + element]]
                assert place["bytes"] == len(column) - 1
                pieces.append((place["lane"], column, next(destinations)))
            strip = []
        for lane, column, run in pieces:
            assert run["beats"] == (lane + len(column) - 1) // width
            first = (space << 44) + run["beat"] * width + lane
            moved += [(first + n, byte) for n, byte in enumerate(column)]
        if sources_done:
            assert pieces[-1][2]["row_last"]
            yield sorted(moved)
            moved, sources_done = [], False
    assert not moved
    assert next(destinations, None) is None
    assert next(places, None) is None
