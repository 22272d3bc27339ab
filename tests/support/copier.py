"""Driver of the stand-in ``copier.sv``."""

import numpy as np

BEAT = 16
CONTROL, SOURCE, TARGET, BEATS, READS, STROBE, STATUS, IDLE, READ_WAIT, WRITE_WAIT = range(0, 40, 4)
START, IRQ, DATA_FIRST, WRONG_SIZE, TAG, WITHDRAW, STOP = (1 << n for n in range(7))


def random_bytes(seed, size):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def start(platform, *, source=0x1000, target=0x2000, beats=16, reads=1, strobe=0xFFFF, flags=0):
    """Set up and start a copy of ``reads`` bursts."""
    for offset, value in ((SOURCE, source), (TARGET, target), (BEATS, beats), (READS, reads),
                          (STROBE, strobe), (CONTROL, START | IRQ | flags)):
        platform.write_register(offset, value)


def finish(platform, limit=20_000):
    """Wait for the copy; return (worst read response, write response)."""
    cycles, irq = platform.run(limit)
    assert irq, f"no interrupt in {cycles} cycles"
    status = platform.read_register(STATUS)
    platform.write_register(STATUS, 0)
    return status >> 2 & 3, status >> 4 & 3


def copy(platform, **options):
    start(platform, **options)
    return finish(platform)
