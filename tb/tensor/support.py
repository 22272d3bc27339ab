"""The surroundings of the tensor unit."""

from collections import Counter

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from common.drive import CONFIG, Sink, Source, power_up, release, seeded, unpacker, until
from common.scratchpad_host import ScratchpadHost
from support.tensor_rig import command_of
from xpu_rtl.command.formats import CONV, ElementType, FaultCause
from xpu_rtl.command.types import Activity, Completion, IssuedCommand, SemaphoreAdd

__all__ = ["CONFIG", "Rig", "output_bytes"]

FIRST_INDEX = 100
_HALF = 1 << (CONFIG.semaphore_width - 1)


def output_bytes(values):
    """Mask of the scratchpad bytes that a command may write."""
    mask = np.zeros(CONFIG.sm_bytes, bool)
    if not values["hold"]:
        size = 4 if values["out_type"] == ElementType.INT32 else 1
        width = -(-values["columns"] // CONFIG.lanes) * CONFIG.lanes * size
        for row in range(values["rows"]):
            at = values["out_address"] + row * values["out_pitch"]
            mask[at:at + width] = True
    return mask


class Rig:
    """Commands, semaphores and scratchpad; made by ``await Rig.create(...)``.

    Attributes
    ----------
    host, noise : ScratchpadHost
        Access to the scratchpad; reads nobody wants, with priority.
    semaphores : Counter
        Values that the unit sees; its own additions are counted in ``adds``.
    commands : list
        Fields of every command issued.
    reports : list
        ``(cause, address, info)`` of every completion.
    activity : list
        Of every cycle.
    on_add : callable
        Called with semaphore and amount of an addition in the cycle in which it is accepted.
    """

    @classmethod
    async def create(cls, dut, name, *, rough=0.0):
        self = cls()
        self.dut, self.rng = dut, seeded(name)
        power_up(dut)
        dut.core_rst.value = 0
        dut.tensor_abort.value = 0
        self.host = ScratchpadHost(dut, CONFIG, self.rng)
        self.noise = ScratchpadHost(dut, CONFIG, self.rng, "noise")
        self.semaphores, self.adds = Counter(), Counter()
        self.commands, self.reports, self.begins, self.activity = [], [], [], []
        self.on_add = lambda semaphore, amount: None
        self.source = Source(dut, "tensor_cmd", rng=self.rng, valid_p=1 - rough)
        layout = IssuedCommand(CONV)
        self._index_lsb = layout["index"].offset
        completion, add = unpacker(Completion()), unpacker(SemaphoreAdd())

        def done(bits):
            report = completion(bits)["fault"]
            self.reports.append((FaultCause(report["cause"]), report["address"], report["info"]))
            assert len(self.reports) <= self.source.sent, "done without a command"

        def added(bits):
            values = add(bits)
            self.adds[values["semaphore"]] += values["amount"]
            self.semaphores[values["semaphore"]] += values["amount"]
            self.on_add(values["semaphore"], values["amount"])

        Sink(dut, "tensor_done", rng=self.rng, take=done)
        Sink(dut, "tensor_add", rng=self.rng, ready_p=1 - rough, take=added)
        await release(dut)
        cocotb.start_soon(self._monitor())
        self.rough = rough
        return self

    async def _monitor(self):
        dut, edge = self.dut, RisingEdge(self.dut.clk)
        views = [(getattr(dut, f"{name}_view_semaphore"), getattr(dut, f"{name}_view_threshold"),
                  getattr(dut, f"{name}_view_reached")) for name in "ab"]
        while True:
            await edge
            if int(dut.tensor_begin.value):
                self.begins.append(int(dut.tensor_begin_index.value))
            self.activity.append(int(dut.tensor_activity.value))
            for semaphore, threshold, reached in views:
                number = int(semaphore.value)
                distance = self.semaphores[number] - int(threshold.value)
                reached.value = not number or not distance & _HALF

    def issue(self, commands):
        for values in commands:
            word = int.from_bytes(command_of(values).encode(), "little")
            self.source.send(word | (FIRST_INDEX + len(self.commands)) << self._index_lsb)
            self.commands.append(values)

    async def fill(self, memory):
        """Set the scratchpad's contents."""
        self.memory = np.array(memory, np.uint8)
        await self.host.write(0, self.memory)
        self.host.disturb = self.noise.disturb = self.rough

    async def contents(self):
        """Return the scratchpad's contents."""
        self.host.disturb = self.noise.disturb = 0
        return await self.host.read(0, CONFIG.sm_bytes)

    async def finish(self, *, cycles=40_000):
        """Wait until every command is complete; check what they reported."""
        await until(self.dut, lambda: len(self.reports) == len(self.commands),
                    "all commands complete", cycles=cycles)
        assert self.reports == [(FaultCause.NONE, 0, 0)] * len(self.commands)
        assert self.begins == [FIRST_INDEX + n for n in range(len(self.commands))]
        expected = Counter()
        for values in self.commands:
            blocks = -(-values["columns"] // CONFIG.lanes)
            expected[values.get("release_semaphore", 0)] += 1
            if not values["hold"]:
                expected[values.get("out_semaphore", 0)] += values["rows"] * -(
                    -blocks // values["tile_blocks"])
        del expected[0]
        assert +self.adds == +expected

    async def check(self, expected):
        """Compare ``{byte address: value}``; the commands changed nothing beside their outputs."""
        found = await self.contents()
        wrong = {at: (int(found[at]), value) for at, value in expected.items()
                 if found[at] != value}
        assert not wrong, f"{len(wrong)} bytes wrong (found, expected): {list(wrong.items())[:4]}"
        free = ~np.any([output_bytes(values) for values in self.commands], axis=0)
        touched = np.flatnonzero(free & (found != self.memory))
        assert not touched.size, f"{touched.size} other bytes changed, first {touched[0]:#x}"

    async def restart(self):
        """Reset unit and scratchpad control; forget the commands."""
        await self.host.settle()
        await self.noise.settle()
        self.dut.core_rst.value = 1
        self.source.flush()
        await ClockCycles(self.dut.clk, 2)
        self.dut.core_rst.value = 0
        self.dut.tensor_abort.value = 0
        self.commands, self.reports, self.begins = [], [], []
        self.adds.clear()
        self.source.sent = 0
        await RisingEdge(self.dut.clk)

    def busy(self):
        """Cycles in which a row entered the array."""
        return [n for n, what in enumerate(self.activity) if what == Activity.BUSY.value]
