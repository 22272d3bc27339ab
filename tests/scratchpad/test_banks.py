"""Placement of words in banks."""

import itertools

import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator

from xpu_rtl.configs import CONFIGS, get_config
from xpu_rtl.params import XpuConfig
from xpu_rtl.scratchpad.banks import bank_of, bank_sum

MID = XpuConfig(name="mid", lanes=8, sm_bytes=16 * 1024, sm_banks=16)
ALL = [*CONFIGS.values(), MID]
by_name = pytest.mark.parametrize("config", ALL, ids=lambda config: config.name)


def test_bank_by_hand():
    slice_ = get_config("slice")  # 32 banks
    assert bank_of(slice_, 0) == 0
    assert bank_of(slice_, 31) == 31
    assert bank_of(slice_, 32) == 1
    assert bank_of(slice_, 3 * 1024 + 30 * 32 + 5) == (3 + 30 + 5) % 32


@by_name
def test_each_row_uses_every_bank_once(config):
    for row in range(config.bank_rows):
        first = row * config.sm_banks
        banks = {bank_of(config, first + low) for low in range(config.sm_banks)}
        assert len(banks) == config.sm_banks


@by_name
def test_every_power_of_two_pitch_spreads(config):
    """Of any ``sm_banks`` words in a row, or as many as fit, none hits the bank before it."""
    pitch = 1
    while pitch < config.sm_words:
        count = min(config.sm_banks, config.sm_words // pitch)
        for start in (0, 1, config.sm_banks - 1):
            words = [start + k * pitch for k in range(count) if start + k * pitch < config.sm_words]
            banks = [bank_of(config, word) for word in words]
            if len(banks) > 1:
                assert all(a != b for a, b in itertools.pairwise(banks)), (pitch, start)
                # Plain interleave would use one bank; here at least half of those possible.
                assert 2 * len(set(banks)) >= len(banks), (pitch, start, banks)
        pitch *= 2


@by_name
def test_hardware_expression(config):
    address, bank = Signal(config.sm_addr_width), Signal(config.bank_width)
    m = Module()
    m.d.comb += bank.eq(bank_sum(config, address))

    async def bench(ctx):
        step = max(1, config.sm_words // 997)
        for word in [*range(0, config.sm_words, step), config.sm_words - 1]:
            ctx.set(address, word)
            assert ctx.get(bank) == bank_of(config, word), word

    sim = Simulator(m)
    sim.add_testbench(bench)
    sim.run()


def test_address_outside_is_refused():
    config = get_config("tiny")
    for address in (-1, config.sm_words):
        with pytest.raises(ValueError, match="address"):
            bank_of(config, address)
