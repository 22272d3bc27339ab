"""An AXI4-Lite manager for ``amaranth.sim``."""

__all__ = ["AxiLiteManager"]


class AxiLiteManager:
    """Transfers on an ``AxiLite`` port, one at a time.

    Parameters
    ----------
    port : AxiLite
        The subordinate's port.
    block : RegisterBlock
        For ``read`` and ``write`` by name.
    limit : int
        Most cycles to wait for a handshake.
    """

    def __init__(self, port, block, *, limit=50):
        self.port, self.block, self.limit = port, block, limit

    async def _handshake(self, ctx, valid, ready, *results):
        """Hold ``valid`` until ``ready``; return the sampled results and the cycles taken."""
        ctx.set(valid, 1)
        for cycles in range(1, self.limit + 1):
            _, _, done, *values = await ctx.tick().sample(ready, *results)
            if done:
                ctx.set(valid, 0)
                return values, cycles
        raise AssertionError(f"no handshake within {self.limit} cycles")

    async def read_address(self, ctx, address):
        """Return (data, response)."""
        port = self.port
        ctx.set(port.araddr, address)
        await self._handshake(ctx, port.arvalid, port.arready)
        (data, resp), _ = await self._handshake(ctx, port.rready, port.rvalid, port.rdata,
                                                port.rresp)
        return data, resp

    async def write_address(self, ctx, address, value, *, strobe=0xF, order="together", gap=0):
        """Send AW and W in an ``order`` ("together", "address" or "data" first, ``gap`` cycles
        apart); return the response."""
        port = self.port
        channels = {"address": (port.awvalid, port.awready), "data": (port.wvalid, port.wready)}
        ctx.set(port.awaddr, address)
        ctx.set(port.wdata, value)
        ctx.set(port.wstrb, strobe)
        first = "data" if order == "data" else "address"
        second = "address" if first == "data" else "data"
        if order == "together":
            for valid, _ in channels.values():
                ctx.set(valid, 1)
            open_channels = dict(channels)
            for _ in range(self.limit):
                _, _, *ready = await ctx.tick().sample(*(r for _, r in open_channels.values()))
                for name, taken in zip(list(open_channels), ready, strict=True):
                    if taken:
                        ctx.set(open_channels.pop(name)[0], 0)
                if not open_channels:
                    break
            else:
                raise AssertionError("a write was not accepted")
        else:
            await self._handshake(ctx, *channels[first])
            for _ in range(gap):
                await ctx.tick()
            await self._handshake(ctx, *channels[second])
        (resp,), _ = await self._handshake(ctx, port.bready, port.bvalid, port.bresp)
        return resp

    async def read(self, ctx, name, index=0):
        """Return the fields of a register, or the value if it has one field from bit 0 on."""
        register = self.block[name]
        data, resp = await self.read_address(ctx, register.address(index))
        assert resp == 0, f"{name} answered {resp}"
        if len(register.fields) == 1:
            return data
        return register.unpack(data)

    async def write(self, ctx, name, value, index=0):
        """Write a register."""
        assert await self.write_address(ctx, self.block[name].address(index), value) == 0
