"""All ports of the scratchpad with random traffic against a dictionary of bytes."""

from collections import deque

import cocotb
from cocotb.triggers import RisingEdge

from common.drive import CONFIG, packer, power_up, release, scaled, seeded
from scratchpad.bench import PORTS
from support.scratchpad import MemoryModel, read, write
from xpu_rtl.scratchpad.arbiter import max_wait
from xpu_rtl.scratchpad.banks import bank_of
from xpu_rtl.scratchpad.scratchpad import Scratchpad
from xpu_rtl.scratchpad.types import ScratchpadRequest

ACTIVATION = 0
PACK = packer(ScratchpadRequest(CONFIG))
ALL = (1 << CONFIG.word_bytes) - 1


class Port:
    """One requester: offers what ``source`` returns, keeps what is outstanding."""

    def __init__(self, dut, who, source):
        self.who, self.source = who, source
        (self.valid, self.payload, self.ready, self.answer, self.word, self.waiting) = (
            getattr(dut, f"{who.name}_{name}") for name in
            ("req_valid", "req_payload", "req_ready", "rsp_valid", "rsp_payload", "waiting"))
        self.pending, self.offered = deque(), None
        self.valid.value = 0
        self.accepted = self.wait = self.longest_wait = 0
        self.latencies = []

    def drive(self, rng):
        if self.offered is None:
            self.offered = self.source()
            one = self.offered
            self.valid.value = one is not None
            self.payload.value = (rng.getrandbits(len(self.payload)) if one is None else
                                  PACK(address=one.address, write=one.write, data=one.data,
                                       strobe=one.strobe))

    def sample(self, cycle):
        """Return the access answered in this cycle with its response, or None."""
        answered = None
        if int(self.answer.value):
            assert self.pending, f"{self.who.name} answers without a request"
            access, since = self.pending.popleft()
            self.latencies.append(cycle - since)
            answered = access, int(self.word.value)
        self.wait = self.wait + 1 if int(self.waiting.value) else 0
        self.longest_wait = max(self.longest_wait, self.wait)
        if self.offered is not None and int(self.ready.value):
            self.pending.append((self.offered, cycle))
            self.offered = None
            self.accepted += 1
        return answered


async def play(dut, sources, cycles, rng, *, model=None, drain=600):
    """Run ports from ``{name: source}`` for some cycles, then until every response has come."""
    power_up(dut)
    await release(dut)
    ports = [Port(dut, who, sources.get(who.name, lambda: None)) for who in PORTS]
    model, edge = model or MemoryModel(), RisingEdge(dut.clk)
    for cycle in range(cycles + drain):
        if cycle == cycles:
            for port in ports:
                port.source = lambda: None
        for port in ports:
            port.drive(rng)
        await edge
        reads, writes = [], []
        for port in ports:
            answered = port.sample(cycle)
            if answered:
                (writes if answered[0].write else reads).append((*answered, port.who.name))
        # Responses come in the order in which the accesses were performed.
        touched = [access.address for access, _, _ in reads + writes]
        assert len(set(touched)) == len(touched), f"cycle {cycle}: one word twice in a cycle"
        for access, word, name in reads + writes:
            model.apply(access, word, f"cycle {cycle} {name}")
        if cycle >= cycles and not any(port.pending or port.offered for port in ports):
            return {port.who.name: port for port in ports}
    raise AssertionError(f"not drained: { {p.who.name: len(p.pending) for p in ports} }")


def random_source(who, words, rng, ask):
    def source():
        if rng.random() >= ask:
            return None
        if who.reads and not (who.writes and rng.random() < 0.5):
            return read(rng.choice(words))
        strobe = rng.choice((ALL, rng.randint(0, ALL)))
        return write(rng.choice(words), rng.getrandbits(CONFIG.word_width), strobe)
    return source


async def traffic(dut, name, words, ask):
    rng = seeded(name)
    ports = await play(dut, {who.name: random_source(who, words, rng, ask(rng)) for who in PORTS},
                       scaled(3000), rng)
    assert all(port.accepted for port in ports.values())
    assert max(port.longest_wait for port in ports.values()) <= max_wait(len(PORTS))


@cocotb.test(timeout_time=200, timeout_unit="us")
async def few_words(dut):
    """Everybody at eight words: the order of accesses shows."""
    rng = seeded("words")
    words = [rng.randrange(CONFIG.sm_words) for _ in range(8)]
    await traffic(dut, "few", words, lambda rng: 0.7)


@cocotb.test(timeout_time=200, timeout_unit="us")
async def all_words(dut):
    """The whole memory, ports busy to different degrees."""
    await traffic(dut, "all", range(CONFIG.sm_words), lambda rng: rng.choice((0.1, 0.5, 1.0)))


@cocotb.test(timeout_time=200, timeout_unit="us")
async def one_bank(dut):
    """Everybody always at one bank: nobody waits longer than documented."""
    words = [word for word in range(CONFIG.sm_words) if bank_of(CONFIG, word) == 1]
    await traffic(dut, "bank", words, lambda rng: 1.0)


@cocotb.test(timeout_time=200, timeout_unit="us")
async def every_word_is_its_own(dut):
    """Write all words, then read them all: no two share a place."""
    rng = seeded("own")
    todo = [write(word, rng.getrandbits(CONFIG.word_width), ALL) for word in range(CONFIG.sm_words)]
    rng.shuffle(todo)
    order = [read(access.address) for access in reversed(todo)]
    listed = iter(todo + order)
    ports = await play(dut, {"simd": lambda: next(listed, None)}, 2 * CONFIG.sm_words + 10, rng)
    assert ports["simd"].accepted == 2 * CONFIG.sm_words
    # Alone, a port gets an access per cycle, each after the documented time.
    assert set(ports["simd"].latencies) == {Scratchpad.LATENCY}


@cocotb.test(timeout_time=200, timeout_unit="us")
async def different_banks_do_not_disturb(dut):
    """As many ports as there are banks, each at its own bank: an access per port and cycle."""
    cycles, names = 400, [who.name for who in PORTS][:CONFIG.sm_banks]
    rng = seeded("different")
    banks = [[word for word in range(CONFIG.sm_words) if bank_of(CONFIG, word) == bank]
             for bank in range(len(names))]

    def source(who, words):
        return lambda: (read(rng.choice(words)) if who.reads else
                        write(rng.choice(words), rng.getrandbits(CONFIG.word_width), ALL))

    ports = await play(dut, {who.name: source(who, words)
                             for who, words in zip(PORTS, banks, strict=False)}, cycles, rng)
    for name in names:
        assert ports[name].accepted in (cycles, cycles + 1), name
        assert set(ports[name].latencies) == {Scratchpad.LATENCY}, name
        assert ports[name].longest_wait == 0, name


@cocotb.test(timeout_time=200, timeout_unit="us")
async def activations_come_first(dut):
    """With everybody at one bank the activation port loses only to accesses that are old."""
    words = [word for word in range(CONFIG.sm_words) if bank_of(CONFIG, word) == 0]
    rng = seeded("priority")
    cycles = scaled(1500)
    ports = await play(dut, {who.name: random_source(who, words, rng, 1.0) for who in PORTS},
                       cycles, rng)
    others = sum(port.accepted for name, port in ports.items() if name != PORTS[ACTIVATION].name)
    share = ports[PORTS[ACTIVATION].name].accepted / (cycles + 1)
    # Every other port gets in once in 32 cycles of waiting, and little more.
    assert 0.75 < share < 0.9, share
    assert others > cycles // 10, others
