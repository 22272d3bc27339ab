"""Random commands for all streams at once, with a region of each memory for each purpose."""

from dma.support import CONFIG, GM_BYTES, NAMES, gm, sm
from support.dma_random import Region, random_command

__all__ = ["LISTS", "SOURCES", "VICTIM_SOURCE", "Commands", "destination"]

WORD, HALF = CONFIG.word_bytes, CONFIG.sm_bytes // 2
SOURCES = (Region(gm(0), gm(0x6000)), Region(sm(HALF), sm(CONFIG.sm_bytes - 1024)))
VICTIM_SOURCE = 0x6000      #: page that only the stream to fail reads
LIST_BYTES, LISTS = 96, (gm(0x7000), sm(CONFIG.sm_bytes - 1024))
LISTS_EACH = 1024 // LIST_BYTES


def destination(name):
    """Region that only this stream writes."""
    load, part = name.startswith("load"), NAMES.index(name) // 2
    at, size = (sm, HALF) if load else (lambda offset: gm(0x8000 + offset), GM_BYTES // 2)
    size //= CONFIG.dma_streams
    return Region(at(part * size), at(part * size) + size)


class Commands:
    """Random commands. Index lists are put beside each other in GM and SM, as long as there is
    room; call ``restart`` when no command runs any more."""

    def __init__(self, rig):
        self.rig, self.rng = rig, rig.rng
        self.restart()

    def restart(self):
        self.lists = [base + n * LIST_BYTES for base in LISTS for n in range(LISTS_EACH)]
        self.rng.shuffle(self.lists)

    async def issue(self, names, count, **fields):
        """``count`` to each of the named streams."""
        rig, rng = self.rig, self.rng
        rig.semaphores[2] = 2000
        commands = {name: [] for name in names}
        for name in list(names) * count:
            engine = rig.engines[name]
            place = self.lists[-1] if self.lists else None
            _, command, entries = random_command(
                rng, rng.choice(SOURCES), destination(name), word=WORD, load=engine.load,
                index=place and Region(place, place + LIST_BYTES), most_rows=20, most_bytes=120)
            if entries is not None:
                self.lists.pop()
                address = command["index_low"] | command["index_high"] << 32
                await rig.put_list(address, entries)
            if rng.random() < 0.4:
                command |= ({"progress_semaphore": rng.choice((1, 5))} if engine.load else
                            {"progress_semaphore": 2, "progress_value": rng.randint(0, 900)})
            commands[name].append(command | fields)
        for name in names:
            rig.engines[name].issue(commands[name])
