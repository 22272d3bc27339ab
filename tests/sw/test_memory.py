import random

import pytest

from xpu.errors import OutOfMemoryError
from xpu.memory import Allocator


def test_alignment_and_first_fit():
    allocator = Allocator(1 << 20)
    small, large, next_small = (allocator.allocate(size) for size in (1, 5000, 64))
    assert (small.address, small.size) == (0, 64)
    assert (large.address, large.size) == (4096, 5056)
    assert next_small.address == 64                    # the gap before the large one is used
    assert allocator.free_bytes == (1 << 20) - 64 - 5056 - 64


def test_memory_is_free_only_after_its_last_use():
    allocator = Allocator(4096)
    block = allocator.allocate(4096)
    block.last_use = 7
    allocator.release(block)
    allocator.reclaim(completed=6)
    assert allocator.free_bytes == 0
    allocator.reclaim(completed=7)
    assert allocator.free_bytes == 4096
    allocator.reclaim(completed=8)
    assert allocator.free_bytes == 4096


def test_exhaustion_names_request_free_and_holders():
    allocator = Allocator(64 * 1024)
    allocator.allocate(30_000, "weights")
    allocator.allocate(2_000, "bias")
    with pytest.raises(OutOfMemoryError) as caught:
        allocator.allocate(50_000, "result")
    message = str(caught.value)
    assert "50000 bytes requested for result" in message
    assert f"{allocator.free_bytes} are free" in message
    assert "largest holders: weights: 30016 bytes; bias: 2048 bytes" in message
    assert isinstance(caught.value, MemoryError)


def test_freeing_twice_is_refused():
    allocator = Allocator(4096)
    block = allocator.allocate(64)
    for _ in range(2):
        allocator.release(block)
    with pytest.raises(ValueError, match="not allocated"):
        allocator.reclaim(completed=0)


@pytest.mark.parametrize("seed", range(4))
def test_random_use_never_overlaps_and_never_leaks(seed):
    rng = random.Random(seed)
    allocator, live = Allocator(1 << 18), []
    for _ in range(600):
        if live and rng.random() < 0.5:
            allocator.release(live.pop(rng.randrange(len(live))))
            allocator.reclaim(completed=0)
        else:
            size = rng.choice((1, 63, 64, 65, 4095, 4096, 4097, 20_000))
            try:
                block = allocator.allocate(size)
            except OutOfMemoryError:
                continue
            assert block.size >= size
            assert block.address % (4096 if size >= 4096 else 64) == 0
            assert block.address + block.size <= 1 << 18
            assert all(block.address + block.size <= other.address
                       or other.address + other.size <= block.address for other in live)
            live.append(block)
        assert allocator.used_bytes == sum(block.size for block in live)
    for block in live:
        allocator.release(block)
    allocator.reclaim(completed=0)
    assert allocator.allocate(1 << 18).address == 0    # one gap again
