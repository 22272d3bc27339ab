"""Runs for ``Source``, by hand and at random."""

from xpu_rtl.dma.stages import RunKind

__all__ = ["GM_BASE", "GM_BYTES", "STALLS", "commands", "fault", "fill", "gm", "random_commands",
           "sm"]

GM_BYTES = 1 << 16
GM_BASE = (1 << 44) - GM_BYTES      #: the highest addresses there are

#: Options of ``SourceRig``: what is slow.
STALLS = {
    "free": {},
    "sink": {"ready_p": 0.5},
    "memory": {"memory": {"latency": 30, "jitter": 40, "ready_p": 0.5, "valid_p": 0.6}},
    "scratchpad": {"sm_ready_p": 0.4, "sm_jitter": 9},
    "runs": {"run_p": 0.2},
    "all": {"run_p": 0.7, "ready_p": 0.7, "sm_ready_p": 0.6, "sm_jitter": 5, "sm_latency": 1,
            "memory": {"latency": 12, "jitter": 20, "ready_p": 0.6, "valid_p": 0.7}},
}


def _run(config, kind, address, length):
    size = config.word_bytes
    end = address + length - 1
    return {"kind": kind, "beat": address // size, "beats": end // size - address // size,
            "lane": address % size, "end": end % size}


def gm(config, offset, length):
    """A run of ``length`` bytes at ``GM_BASE + offset``."""
    return _run(config, RunKind.GM, GM_BASE + offset, length)


def sm(config, address, length):
    """A run of ``length`` bytes of the scratchpad."""
    return _run(config, RunKind.SM, address, length)


def fill(config, lane, length, pattern):
    """``length`` bytes of a pattern, from ``lane`` on."""
    return _run(config, RunKind.FILL, lane, length) | {"beat": 0, "fill": pattern}


def fault():
    """A run that cannot be read."""
    return {"kind": RunKind.FAULT, "beat": 0, "beats": 0, "lane": 0, "end": 0}


def commands(*rows_of_commands, index=100, ring=0):
    """Runs of commands, each a list of rows, each a list of runs; a ``ring`` may be per command."""
    runs = []
    for number, rows in enumerate(rows_of_commands):
        for r, row in enumerate(rows):
            for s, run in enumerate(row):
                row_last = s == len(row) - 1
                runs.append(run | {
                    "first": r == 0 and s == 0, "row_last": row_last,
                    "last": row_last and r == len(rows) - 1, "index": index + number,
                    "ring": ring if isinstance(ring, int) else ring[number]})
    return runs


def random_commands(config, rng, count, *, kinds=(gm, sm, fill), rings=1):
    """Commands of one to four rows of one to three runs; most are short, some of many bursts."""
    size = config.word_bytes
    made = []
    for _ in range(count):
        rows = []
        for _ in range(rng.randrange(1, 5)):
            row = []
            for _ in range(rng.randrange(1, 4)):
                kind = rng.choice(kinds)
                length = rng.choice([rng.randrange(1, 3 * size), rng.randrange(1, 40 * size),
                                     rng.randrange(1, 150 * size)] if rng.random() < 0.2 else
                                    [1, size, rng.randrange(1, 5 * size)])
                if kind is gm:
                    row.append(gm(config, rng.randrange(GM_BYTES - length), length))
                elif kind is sm:
                    row.append(sm(config, rng.randrange(config.sm_bytes - length), length))
                else:
                    row.append(fill(config, rng.randrange(size), length, rng.getrandbits(32)))
            rows.append(row)
        made.append(rows)
    return commands(*made, ring=[rng.randrange(rings) for _ in made])
