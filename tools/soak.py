"""Random DMA transfers at volume: the RTL against the functional model, all memory compared.

Batches of random commands of every mode, from either memory, run on all streams at once, behind
random latency, stalls and order of the memory. After each batch every byte of global memory and
scratchpad must equal the functional model's, so that a byte written where none belongs is seen.
"""

import argparse
import random
import sys
import time

import numpy as np

import xpu
from support.dma_random import Region, random_command
from xpu.commands import Command
from xpu_rtl import CONFIGS
from xpu_rtl.address_map import Space, SystemAddress
from xpu_rtl.command.formats import Opcode

GM_BYTES = 1 << 20
LIST_BYTES = 256         # room for one index list


def address(space, offset):
    return SystemAddress(space, offset).encode()


class Soak:
    """Two devices with the same contents and the same work."""

    def __init__(self, config, seed, batch):
        self.rng, self.batch = random.Random(f"{config}-{seed}"), batch
        rng = self.rng
        memory = {"memory_latency": rng.choice((1, 3, 20, 100)),
                  "memory_stall": None if rng.random() < 0.3 else {
                      **{channel: rng.choice((0, 0.1, 0.5, 0.9)) for channel in
                         ("ar", "r", "aw", "w", "b")}, "seed": rng.getrandbits(30)},
                  "memory_order": rng.choice(("in_order", "reorder", "interleave"))}
        self.told = f"config {config}, seed {seed}, {memory}"
        size = 8 << 20
        self.devices = [xpu.open(config=config, platform="native", memory_bytes=size, **memory),
                        xpu.open(config=config, platform="model", memory_bytes=size)]
        self.config = self.devices[0].config
        #: Blocks of GM at the same address on both: what commands touch, and an image of SM.
        self.gm = [dev.empty((GM_BYTES,), np.uint8) for dev in self.devices]
        self.image = [dev.empty((self.config.sm_bytes,), np.uint8) for dev in self.devices]
        assert self.gm[0].address == self.gm[1].address
        assert self.image[0].address == self.image[1].address
        self._split()

    def _split(self):
        """Regions: sources and lists are only read, each stream writes one of its own."""
        gm, sm = self.gm[0].address, self.config.sm_bytes
        lists = self.batch * LIST_BYTES

        def region(space, begin, end):
            return Region(address(space, begin), address(space, begin) + end - begin)

        self.sources = {Space.GM: region(Space.GM, gm + lists, gm + GM_BYTES // 2),
                        Space.SM: region(Space.SM, sm // 8, sm // 2)}
        self.targets = {}
        for stream in range(self.config.dma_streams):
            part = GM_BYTES // 2 // self.config.dma_streams
            begin = gm + GM_BYTES // 2 + stream * part
            self.targets[False, stream] = region(Space.GM, begin, begin + part)
            part = sm // 2 // self.config.dma_streams
            begin = sm // 2 + stream * part
            self.targets[True, stream] = region(Space.SM, begin, begin + part)

    def _commands(self, gm, sm):
        """A batch; its index lists are put into the images."""
        rng, commands, lists = self.rng, [], {Space.GM: 0, Space.SM: 0}
        base = {Space.GM: self.gm[0].address, Space.SM: 0}
        room = {Space.GM: self.batch * LIST_BYTES, Space.SM: self.config.sm_bytes // 8}
        for _ in range(self.batch):
            load, stream = rng.choice(tuple(self.targets))
            where = rng.choice((Space.GM, Space.SM))
            index = None
            if lists[where] + LIST_BYTES <= room[where]:
                begin = address(where, base[where] + lists[where])
                index = Region(begin, begin + LIST_BYTES)
            opcode, fields, entries = random_command(
                rng, self.sources[rng.choice((Space.GM, Space.SM))], self.targets[load, stream],
                word=self.config.word_bytes, load=load, index=index,
                most_bytes=rng.choice((100, 300, 2000)))
            if entries is not None:
                at = SystemAddress.decode(fields["index_high"] << 32 | fields["index_low"])
                data = np.array(entries, np.uint32).view(np.uint8)
                image, begin = (gm, at.offset - base[where]) if where is Space.GM else (
                    sm, at.offset)
                image[begin:begin + data.size] = data
                lists[where] += LIST_BYTES
            commands.append(Command(opcode, stream=stream, **fields))
        return commands

    def _move_scratchpad(self, dev, image, *, load):
        rows = max(1, self.config.sm_bytes >> 16)
        row = self.config.sm_bytes // rows
        ends = image.address, address(Space.SM, 0)
        opcode = Opcode.DMA_LOAD if load else Opcode.DMA_STORE
        dev.submit([Command(opcode, source=ends[not load], destination=ends[load], row_bytes=row,
                            rows=rows, source_pitch=row, destination_pitch=row)])

    def run(self):
        """Run a batch and return its commands; ``AssertionError`` if memory differs."""
        seed = self.rng.getrandbits(40)
        data = np.random.default_rng(seed)
        gm = data.integers(0, 256, GM_BYTES, np.uint8)
        sm = data.integers(0, 256, self.config.sm_bytes, np.uint8)
        commands = self._commands(gm, sm)
        results = []
        for dev, block, image in zip(self.devices, self.gm, self.image, strict=True):
            dev.platform.write_memory(block.address, gm)
            dev.platform.write_memory(image.address, sm)
            self._move_scratchpad(dev, image, load=True)
            dev.submit(commands, name="soak")
            self._move_scratchpad(dev, image, load=False)
            dev.synchronize()
            results.append((dev.platform.read_memory(block.address, GM_BYTES),
                            dev.platform.read_memory(image.address, self.config.sm_bytes)))
        for name, rtl, model in zip(("GM", "SM"), *results, strict=True):
            different = np.flatnonzero(rtl != model)
            if different.size:
                base = self.gm[0].address if name == "GM" else 0
                raise AssertionError(
                    f"{different.size} bytes of {name} differ, the first at "
                    f"{base + different[0]:#x}; {self.told}, batch of {len(commands)}:\n"
                    + "\n".join(map(repr, commands)))
        return commands

    def close(self):
        for dev in self.devices:
            dev.close()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="transfers (default: 100000)")
    parser.add_argument("--config", choices=tuple(CONFIGS), action="append",
                        help="default: slice and tiny in turns")
    parser.add_argument("--batch", type=int, default=400, help="commands between comparisons")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    configs = args.config or ["slice", "tiny"]
    done, begin, seed = 0, time.monotonic(), args.seed
    while done < args.count:
        soak = Soak(configs[seed % len(configs)], seed, args.batch)
        try:
            for _ in range(5):
                done += len(soak.run())
                if done >= args.count:
                    break
        except (AssertionError, xpu.XpuError) as error:
            print(f"soak: failed after {done} transfers: {soak.told}\n{error}", file=sys.stderr)
            return 1
        finally:
            soak.close()
        seed += 1
        print(f"\rsoak: {done} transfers, {time.monotonic() - begin:.0f} s", end="",
              file=sys.stderr, flush=True)
    print(f"\nsoak: {done} random transfers, 0 bytes differ, {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
