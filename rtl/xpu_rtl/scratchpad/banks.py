"""The memories of the scratchpad and the crossbar to and from them."""

from functools import reduce
from operator import or_

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..params import XpuConfig
from ..prims.sram import Sram1RW

__all__ = ["BankAccess", "Banks", "bank_of", "bank_sum"]


def _digits(config, address):
    """Base-``sm_banks`` digits of a word address (int or ``Value``), lowest first."""
    shift = config.bank_width
    return [address >> low & config.sm_banks - 1 for low in range(0, config.sm_addr_width, shift)]


def bank_of(config, address):
    """Bank of a word address: the sum of its base-``sm_banks`` digits, modulo ``sm_banks``.

    The row in the bank is ``address >> bank_width``. Adjacent words lie in adjacent banks, and the
    words of no power-of-two pitch all lie in one.
    """
    if not 0 <= address < config.sm_words:
        raise ValueError(f"address must lie in 0..{config.sm_words - 1}, not {address!r}")
    return sum(_digits(config, address)) % config.sm_banks


def bank_sum(config, address):
    """``bank_of`` as a hardware expression; give it a name."""
    shift = config.bank_width
    terms = [address[low:low + shift] for low in range(0, config.sm_addr_width, shift)]
    while len(terms) > 1:  # a balanced tree, modulo the number of banks
        pairs = [(a + b)[:shift] for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(terms) & ~1:]
    return terms[0]


class BankAccess(data.StructLayout):
    """One access to one bank.

    Fields: ``bank``, ``row``, ``write``, ``strobe`` and ``data`` (writes only).
    """

    def __init__(self, config: XpuConfig):
        super().__init__({
            "bank": unsigned(config.bank_width),
            "row": unsigned(config.sm_addr_width - config.bank_width),
            "write": unsigned(1),
            "strobe": unsigned(config.word_bytes),
            "data": unsigned(config.word_width),
        })


class Banks(wiring.Component):
    """Single-port memories, reached by all requesters in the same cycle if their banks differ.

    Parameters
    ----------
    config : XpuConfig
        Number and size of the banks.
    requesters : tuple of Requester
        A requester that only reads drives no write data; one that only writes gets no read data.

    Members
    -------
    en : In(len(requesters))
        Requester i performs ``access[i]``. No two name the same bank in a cycle.
    access : In(BankAccess(config)).array(len(requesters))
    done : Out(len(requesters))
        The access is performed.
    r_data : Out(word_width).array(len(requesters))
        With ``done`` of a read: the word. Undefined otherwise.

    Timing
    ------
    Latency: 3 cycles from ``en`` to ``done``, reads and writes alike (``LATENCY``): crossbar to the
    memories, memories, crossbar back. A write is seen by every access after it.
    Throughput: one access per requester and cycle.
    Backpressure: none. Combinational paths: none.
    Reset: ``done``. The memories are undefined until written.
    """

    LATENCY = 3

    def __init__(self, config: XpuConfig, requesters):
        self._config, self._requesters = config, tuple(requesters)
        count = len(self._requesters)
        super().__init__({
            "en": In(count), "access": In(BankAccess(config)).array(count),
            "done": Out(count), "r_data": Out(config.word_width).array(count),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        count, banks = len(self._requesters), config.sm_banks
        writers = [i for i, who in enumerate(self._requesters) if who.writes]

        # Stage 1: who goes where. The grant comes late in its cycle, so the crossbar has the next.
        s1, chosen = [], []  # chosen[i][b]: requester i performs its access at bank b
        for i in range(count):
            access = Signal(BankAccess(config), name=f"s1_access_{i}", reset_less=True)
            one_hot = Signal(banks, name=f"s1_chosen_{i}")
            m.d.sync += [access.eq(self.access[i]), one_hot.eq(self.en[i] << self.access[i].bank)]
            s1.append(access)
            chosen.append(one_hot)

        def merge(bank, field, sources):
            return reduce(or_, (Mux(chosen[i][bank], s1[i][field], 0) for i in sources), 0)

        r_data = []
        for bank in range(banks):
            m.submodules[f"bank_{bank}"] = sram = Sram1RW(
                depth=config.bank_rows, width=config.word_width)
            m.d.comb += [
                sram.en.eq(reduce(or_, (chosen[i][bank] for i in range(count)))),
                sram.addr.eq(merge(bank, "row", range(count))),
                sram.write.eq(merge(bank, "write", writers)),
                sram.w_strobe.eq(merge(bank, "strobe", writers)),
                sram.w_data.eq(merge(bank, "data", writers)),
            ]
            r_data.append(sram.r_data)

        # Stage 2: the memories have been read. Stage 3: the words at their requesters.
        s1_valid, s2_valid = Signal(count), Signal(count)
        m.d.sync += [s1_valid.eq(self.en), s2_valid.eq(s1_valid), self.done.eq(s2_valid)]
        for i, who in enumerate(self._requesters):
            if who.reads:
                s2_bank = Signal(config.bank_width, name=f"s2_bank_{i}", reset_less=True)
                s3_word = Signal(config.word_width, name=f"s3_word_{i}", reset_less=True)
                m.d.sync += s2_bank.eq(s1[i].bank)
                with m.If(s2_valid[i]):
                    with m.Switch(s2_bank):
                        for bank in range(banks):
                            with m.Case(bank):
                                m.d.sync += s3_word.eq(r_data[bank])
                m.d.comb += self.r_data[i].eq(s3_word)
        return m
