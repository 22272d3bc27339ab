"""One stream of the DMA, seen from the command processor."""

from collections import Counter

from common.drive import Sink, Source, unpacker
from support import dma_nd
from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import DMA_ND, HEADER, FaultCause, Opcode
from xpu_rtl.command.types import Completion, IssuedCommand, SemaphoreAdd

__all__ = ["FIRST_INDEX", "GOOD", "Engine"]

FIRST_INDEX = 100
GOOD = (FaultCause.NONE, 0, 0, 0)
_SHORT_END = DMA_ND.lsb["mode"]     # short commands define what is below


class Engine:
    """Commands to one stream, and what became of them.

    A command is a dictionary of fields, ``ring`` (default 0) among them; with a ``mode`` it is a
    DMA_ND, else a DMA_COPY with random bits behind it.

    Parameters
    ----------
    dut, config, rng : cocotb handle, XpuConfig, random.Random
        The bench.
    name : str
        Name of the stream.
    entries : dict
        Index lists by address.
    chance : float
        Of commands offered and progress taken, per cycle.

    Attributes
    ----------
    commands : list
        Fields of every command issued.
    rows : list
        ``(good rows, fault)`` of each by the golden model.
    reports : list
        ``(cause, address, info, row)`` of every completion.
    adds : Counter
        Amounts by semaphore.
    begins : list
        Indices.
    done_cycles : list
        Of completions, counted by ``sample``.
    on_done, on_add : callable
        Called with the number of the completion, or the semaphore.
    """

    def __init__(self, dut, config, name, rng, entries, *, chance):
        self.name, self.load = name, name.startswith("load")
        self._config, self._rng, self._entries = config, rng, entries
        self.on_done = self.on_add = lambda _: None
        self.source = Source(dut, f"{name}_cmd", rng=rng, valid_p=chance)
        self._cycle = 0
        self.forget()
        layout = IssuedCommand(DMA_ND)
        self._places = {field: layout[field].offset for field in ("command", "ring", "index")}
        completion, add = unpacker(Completion()), unpacker(SemaphoreAdd())

        def done(bits):
            report = completion(bits)["fault"]
            cause = FaultCause(report["cause"])
            self.reports.append((cause, report["address"], report["info"], report["row"])
                                if cause else GOOD)
            self.done_cycles.append(self._cycle)
            assert len(self.reports) <= self.source.sent, f"{name}: done without a command"
            self.on_done(len(self.reports) - 1)

        def added(bits):
            values = add(bits)
            self.adds[values["semaphore"]] += values["amount"]
            self.on_add(values["semaphore"])

        Sink(dut, f"{name}_done", rng=rng, take=done)
        Sink(dut, f"{name}_add", rng=rng, ready_p=chance, take=added)
        self._begin = getattr(dut, f"{name}_begin")
        self._index = getattr(dut, f"{name}_begin_index")
        self.abort, self.quiet = getattr(dut, f"{name}_abort"), getattr(dut, f"{name}_quiet")
        self.reset = getattr(dut, f"{name}_reset")
        self.abort.value = 0

    def opcode(self, command):
        opcode = Opcode.DMA_LOAD if self.load else Opcode.DMA_STORE
        return Opcode(opcode + 2) if "mode" in command else opcode

    def expand(self, command):
        """``(good rows, fault)`` of a command by the golden model."""
        listed = command.get("index_low", 0) | command.get("index_high", 0) << 32
        return dma_nd.expand(command, self.opcode(command), self._config,
                             entries=self._entries.get(listed))

    def issue(self, commands):
        for command in commands:
            fields = {name: value for name, value in command.items() if name != "ring"}
            opcode = self.opcode(fields)
            index = FIRST_INDEX + len(self.commands)
            short = opcode in (Opcode.DMA_LOAD, Opcode.DMA_STORE)
            word = HEADER.pack({"opcode": opcode, "slots": 1 if short else DMA_ND.slots})
            word |= DMA_ND.pack(fields)
            if short:
                word |= self._rng.getrandbits(DMA_ND.bits - _SHORT_END) << _SHORT_END
            self.commands.append(command)
            self.rows.append(self.expand(fields))
            self.source.send(word << self._places["command"] | index << self._places["index"]
                             | command.get("ring", 0) << self._places["ring"])

    def forget(self):
        """Begin anew."""
        self.commands, self.rows, self.reports, self.begins = [], [], [], []
        self.adds, self.done_cycles, self.source.sent = Counter(), [], 0

    def sample(self):
        """Look at the monitor signals of the cycle that ends."""
        self._cycle += 1
        if int(self._begin.value):
            self.begins.append(int(self._index.value))

    @property
    def payload(self):
        """Bytes that all commands read from and write to GM."""
        read = written = 0
        for rows, _ in self.rows:
            for row in rows:
                matrix = row["bytes"] * row["rows"] if row["transpose"] else 0
                copied = matrix or row["copied"]
                # Only what is copied has a source in a memory.
                first = (row["source"] + row["left"]) % (1 << 48) if copied else 0
                if SystemAddress.decode(first).space is Space.GM:
                    read += copied
                written += 0 if self.load else matrix or row["bytes"]
        return read, written

    def check_complete(self):
        """Every command has ended well and said so in the right way."""
        assert self.reports == [GOOD] * len(self.commands), self.name
        assert self.begins == [FIRST_INDEX + n for n in range(len(self.commands))], self.name
        progress = Counter()
        if self.load:
            for command, (rows, _) in zip(self.commands, self.rows, strict=True):
                progress[command.get("progress_semaphore", 0)] += len(rows)
            del progress[0]
        assert +self.adds == +progress, self.name
