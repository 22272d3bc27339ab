"""Watches an AXI4 manager and asserts what the protocol and the design's documents demand."""

from collections import Counter

import cocotb
from cocotb.triggers import RisingEdge

from xpu_rtl.common.axi import AXI_ID_WIDTH
from xpu_rtl.dma.index_list import IndexReader

__all__ = ["AxiCheck"]

_PAYLOADS = {
    "aw": ("awid", "awaddr", "awlen", "awsize", "awburst"),
    "ar": ("arid", "araddr", "arlen", "arsize", "arburst"),
    "w": ("wdata", "wstrb", "wlast"),
}


class AxiCheck:
    """Passive checker of the ports ``m_axi_*`` of a module.

    Stalled channels keep their payload; bursts are INCR, of full-width beats, aligned, inside a
    4 KiB page and no longer than allowed; ``wlast`` ends each; no more bursts of an ID are
    outstanding than allowed; responses are taken only for bursts that exist. If the port writes
    too, its IDs are those of ``DmaEngine``.

    Parameters
    ----------
    dut : cocotb handle
        The module.
    config : XpuConfig
        Bus width, ``burst_beats``, ``max_bursts``, ``dma_streams``.
    extra_reads : int
        Read bursts that command fetch may have outstanding.

    Attributes
    ----------
    bursts : dict
        ``(address, beats, id)`` of all bursts by "ar", "aw".
    strobed : int
        Write beats with a strobe.
    outstanding, most_outstanding : dict
        Bursts whose last response has not been taken by "ar", "aw": Counters by ID, now, and at
        most.
    """

    def __init__(self, dut, config, *, extra_reads=0):
        self._dut, self._config = dut, config
        self.bursts, self.strobed = {"ar": [], "aw": []}, 0
        self.outstanding = {"ar": Counter(), "aw": Counter()}
        self.most_outstanding = {"ar": Counter(), "aw": Counter()}
        streams = range(config.dma_streams)
        simd = [1, 1] if config.simd_cores else []      # instructions, plain loads
        self._limit = {"aw": dict(enumerate(
            len(streams) * [config.max_bursts] + simd[:1]))}
        if hasattr(dut, "m_axi_awvalid"):   # data and index list of each stream, cores, commands
            self._limit["ar"] = dict(enumerate(
                2 * len(streams) * [config.max_bursts, IndexReader.BEATS] + simd + [extra_reads]))
        else:
            self._limit["ar"] = dict.fromkeys(range(1 << AXI_ID_WIDTH), extra_reads)
        self._stalled = {}      # payload by channel
        self._lengths, self._lasts, self._beats = [], [], 0     # of write bursts, not matched yet
        self._channels = {}
        for name, fields in _PAYLOADS.items():
            if hasattr(dut, f"m_axi_{name}valid"):
                self._channels[name] = (getattr(dut, f"m_axi_{name}valid"),
                                        getattr(dut, f"m_axi_{name}ready"),
                                        [getattr(dut, f"m_axi_{field}") for field in fields])
        cocotb.start_soon(self._run())

    @property
    def quiet(self):
        """Nothing is outstanding, and no write data are owed."""
        return not (any(map(Counter.total, self.outstanding.values())) or self._stalled
                    or self._lengths
                    or self._lasts or self._beats)

    def clear(self):
        """Forget what is under way, after a reset of the whole design."""
        self._stalled.clear()
        self._lengths, self._lasts, self._beats = [], [], 0
        self.outstanding = {"ar": Counter(), "aw": Counter()}

    async def _run(self):
        dut, edge = self._dut, RisingEdge(self._dut.clk)
        write = "aw" in self._channels
        while True:
            await edge
            if int(dut.rst.value):
                self.clear()
                continue
            for name, (valid, ready, payload) in self._channels.items():
                stalled = self._stalled.pop(name, None)
                if not int(valid.value):
                    assert stalled is None, f"{name}valid fell while stalled"
                    continue
                values = [int(signal.value) for signal in payload]
                assert stalled in (None, values), f"{name} payload changed while stalled"
                if not int(ready.value):
                    self._stalled[name] = values
                elif name == "w":
                    self._beat(*values)
                else:
                    self._burst(name, *values)
            if int(dut.m_axi_rvalid.value) and int(dut.m_axi_rready.value) and int(
                    dut.m_axi_rlast.value):
                self._end("ar", int(dut.m_axi_rid.value))
            if write and int(dut.m_axi_bvalid.value) and int(dut.m_axi_bready.value):
                self._end("aw", int(dut.m_axi_bid.value))

    def _burst(self, name, number, address, length, size, burst):
        bus = self._config.bus_bytes
        beats = length + 1
        where = f"{name} {address:#x} of {beats} beats"
        assert burst == 1, f"{where}: not INCR"
        assert 1 << size == bus, f"{where}: size {size}"
        assert address % bus == 0, f"{where}: not aligned"
        assert beats <= self._config.burst_beats, f"{where}: too long"
        assert address % 4096 + beats * bus <= 4096, f"{where}: crosses a 4 KiB boundary"
        self.bursts[name].append((address, beats, number))
        now, most = self.outstanding[name], self.most_outstanding[name]
        now[number] += 1
        most[number] = max(most[number], now[number])
        assert now[number] <= self._limit[name].get(number, 0), (
            f"{where}: too many outstanding of ID {number}")
        if name == "aw":
            self._lengths.append(beats)
            self._match()

    def _beat(self, data, strobe, last):
        self._beats += 1
        self.strobed += strobe != 0
        if last:
            self._lasts.append(self._beats)
            self._beats = 0
        self._match()

    def _match(self):
        """Compare lengths; data may come before their address."""
        while self._lengths and self._lasts:
            expected, found = self._lengths.pop(0), self._lasts.pop(0)
            assert expected == found, f"wlast after {found} beats of a burst of {expected}"

    def _end(self, name, number):
        self.outstanding[name][number] -= 1
        assert self.outstanding[name][number] >= 0, f"{name}: a response without a burst was taken"
