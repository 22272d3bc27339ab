"""Random command streams and a plain interpreter of what they may do."""

from dataclasses import dataclass, field

from support.command_rig import encode
from xpu_rtl.command.formats import Opcode

__all__ = ["Stream", "engine_of", "random_stream"]

LOADS = (Opcode.DMA_LOAD, Opcode.DMA_LOAD_ND)
STORES = (Opcode.DMA_STORE, Opcode.DMA_STORE_ND)
PRODUCTS = (Opcode.GEMM, Opcode.CONV)


def engine_of(opcode, fields):
    """Name of the engine that executes a command, or ``None``."""
    stream = "1" if fields.get("stream") else ""
    if opcode in LOADS:
        return f"load{stream}"
    if opcode in STORES:
        return f"store{stream}"
    return "tensor" if opcode in PRODUCTS else None


@dataclass
class Stream:
    """Commands of one ring: (opcode, fields) in order.

    ``check`` compares what engines logged with what the stream permits.
    """

    commands: list
    totals: dict = field(default_factory=dict)   # additions per semaphore over the whole stream

    def encoded(self):
        return [encode(opcode, **{name: value for name, value in fields.items()
                                  if not name.endswith("_real")})
                for opcode, fields in self.commands]

    @property
    def last_sequence(self):
        return next((fields["sequence"] for opcode, fields in reversed(self.commands)
                     if opcode is Opcode.FENCE), 0)

    def check(self, engines, ring=0):
        """Assert order, contents, waits and fences. Other rings must use other semaphores."""
        logs = {name: [one for one in engine.log if one.ring == ring]
                for name, engine in engines.items()}
        for name, log in logs.items():
            expected = [(index, fields) for index, (opcode, fields) in enumerate(self.commands)
                        if engine_of(opcode, fields) == name]
            assert [one.index for one in log] == [index for index, _ in expected], name
            for one, (_, fields) in zip(log, expected, strict=True):
                for key, value in fields.items():
                    if key != "tag" and not key.endswith("_real"):
                        assert one.command[key] == value, (one.index, key)
                assert one.done is not None, f"command {one.index} did not end"
        executed = {one.index: one for log in logs.values() for one in log}
        for one in executed.values():
            for earlier in range(one.index + 1):
                opcode, fields = self.commands[earlier]
                if earlier == one.index or opcode is Opcode.NOP:
                    for n in (0, 1):
                        self._check_wait(engines, executed, fields, n, one)
                elif opcode is Opcode.FENCE:
                    assert all(other.done < one.accepted for index, other in executed.items()
                               if index < earlier), f"command {one.index} passed a fence"

    def _check_wait(self, engines, executed, fields, n, one):
        """The value a semaphore can have had at most when ``one`` was accepted satisfies a wait."""
        number = fields.get(f"wait{n}_semaphore", 0)
        if not number:
            return
        value = sum(amount for engine in engines.values() for cycle, semaphore, amount
                    in engine.added if semaphore == number and cycle < one.accepted)
        fence = next((index for index, (opcode, _) in enumerate(self.commands)
                      if opcode is Opcode.FENCE and index > one.index), len(self.commands))
        for index, (opcode, other) in enumerate(self.commands):
            if opcode is Opcode.NOP:    # executed where it is decoded, past commands in queues
                ended = index < fence
            else:
                ended = index in executed and executed[index].done < one.accepted
            if ended and opcode is not Opcode.FENCE:
                value += sum(other.get(f"signal{k}_add", 0) for k in (0, 1)
                             if other.get(f"signal{k}_semaphore") == number)
        assert value >= fields[f"wait{n}_real"], f"command {one.index} did not wait"


def random_stream(rng, config, length, *, semaphores=None, fences=True):
    """Make a stream whose waits are for earlier commands only, and below half the range."""
    everything = numbers = list(semaphores or range(1, config.semaphores))
    modulus = 1 << config.semaphore_width
    totals = dict.fromkeys(numbers, 0)
    epoch = dict(totals)        # totals at the last fence
    commands = []

    def add(number, amount):
        totals[number] += amount

    for _ in range(length):
        choices = [*LOADS, *STORES, *PRODUCTS, *PRODUCTS, Opcode.NOP]
        numbers = rng.sample(everything, 3) if rng.random() < 0.2 else numbers   # reuse a few
        room = max(totals[n] - epoch[n] for n in everything) < modulus // 4
        if fences and (not room or rng.random() < 0.08):
            epoch = dict(totals)
            commands.append((Opcode.FENCE, {"sequence": rng.getrandbits(32)}))
            continue
        opcode = rng.choice(choices)
        fields = {"tag": rng.getrandbits(32)}
        for n in (0, 1):
            if rng.random() < 0.4:
                number = rng.choice(numbers)
                real = rng.choice((totals[number], rng.randint(epoch[number], totals[number])))
                fields |= {f"wait{n}_semaphore": number, f"wait{n}_value": real % modulus,
                           f"wait{n}_real": real}
        for n in (0, 1):
            if rng.random() < 0.5:
                number = rng.choice(numbers)
                amount = rng.choice((1, rng.randrange(100), rng.getrandbits(16)))
                fields |= {f"signal{n}_semaphore": number, f"signal{n}_add": amount}
                add(number, amount)
        if opcode in (*LOADS, *STORES):
            fields["stream"] = rng.randrange(config.dma_streams)
        if opcode in LOADS:
            fields |= {"source_low": rng.getrandbits(32), "source_pitch": -rng.getrandbits(20),
                       "rows": rng.randint(1, 4), "row_bytes": rng.getrandbits(24)}
            if rng.random() < 0.5:
                fields["progress_semaphore"] = rng.choice(numbers)
                add(fields["progress_semaphore"], fields["rows"])
        elif opcode in PRODUCTS:
            fields |= {"rows": rng.randint(1, 9), "a_value": rng.getrandbits(32),
                       "scale": rng.getrandbits(32)}
            for name, amount in (("out_semaphore", fields["rows"]), ("release_semaphore", 1)):
                if rng.random() < 0.4:
                    fields[name] = rng.choice(numbers)
                    add(fields[name], amount)
        elif opcode in STORES:
            fields |= {"destination_high": rng.getrandbits(32), "rows": rng.randint(1, 4)}
        if opcode in (Opcode.DMA_LOAD_ND, Opcode.DMA_STORE_ND):
            fields |= {"count5": rng.getrandbits(16), "index_limit": rng.getrandbits(32)}
        commands.append((opcode, fields))
    commands.append((Opcode.FENCE, {"sequence": rng.getrandbits(32)}))
    return Stream(commands, totals)
