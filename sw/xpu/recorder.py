"""Which operation used which cycles: a record of a device's work, from its traces."""

import re
from dataclasses import dataclass, field

from xpu_rtl.command.types import Activity

from .platforms import engine_names

__all__ = ["Operation", "Recorder"]

#: Names of the activities, as in ``Profile``.
_CAUSES = {activity.value: activity.name.lower() for activity in Activity}


@dataclass
class Operation:
    """What the device did for one operation. Cycles count from the start of the record.

    Attributes
    ----------
    name : str
        As in messages, without addresses.
    begin, end : int
        First cycle of its first command, and the cycle in which the last was complete.
    commands : list of (str, int, int)
        Engine, begin and end of each.
    macs, peak : int
        Multiply-accumulates asked for, and how many the tensor unit does in a cycle.
    bytes : int
        Of the tensors it reads and writes, each once.
    activity : dict
        By engine: cycles by activity (``busy``, ``semaphore``, ``memory``, ``bank_conflict``,
        ``output``, ``idle``); they add up to ``cycles``.
    """

    name: str
    macs: int
    peak: int
    bytes: int
    begin: int = 0
    end: int = 0
    commands: list = field(default_factory=list)
    activity: dict = field(default_factory=dict)

    @property
    def cycles(self):
        return self.end - self.begin

    @property
    def busiest(self):
        """The engine with the most busy cycles, and its share of all."""
        engine = max(self.activity, key=lambda name: self.activity[name]["busy"])
        return engine, self.activity[engine]["busy"] / max(self.cycles, 1)


class Recorder:
    """Records the operations of a device from now on; ``finish`` returns them.

    Costs the simulated machine nothing: the simulation notes when commands begin and end and what
    engines do, and the driver which operation a command belongs to.
    """

    def __init__(self, device):
        self._device = device
        self._origin = device.platform.cycle_count if device.platform.timed else 0
        self._by_index, self._operations = {}, []
        self._events = []
        device.platform.take_trace()
        device.platform.take_activity()
        device._recorders.append(self)

    def submitted(self, operation, tensors, macs):
        """Called by the device for each operation, with the tensors it reads and writes."""
        config = self._device.config
        dtype, count = macs or (None, 0)
        name = re.sub(r" at 0x[0-9a-f]+", "", operation.name)
        record = Operation(name, count, config.lanes * config.word_bytes // dtype.itemsize
                           if count else 0, sum(tensor.nbytes for tensor in tensors))
        for position in range(len(operation.commands)):
            self._by_index[operation.first_index + position & 0xFFFF_FFFF] = record
        self._operations.append(record)

    def add_events(self, events):
        """Called by the device with the trace it has taken."""
        self._events += events

    def finish(self):
        """Wait for the work, and return the list of ``Operation`` that have run."""
        device = self._device
        device.synchronize()
        device._share_trace()
        device._recorders.remove(self)
        for event in self._events:
            record = self._by_index.get(event.index)
            if record is not None:
                record.commands.append((event.engine, event.begin - self._origin,
                                        event.end - self._origin))
        done = [record for record in self._operations if record.commands]
        for record in done:
            record.begin = min(begin for _, begin, _ in record.commands)
            record.end = max(end for _, _, end in record.commands)
        self._count_activity(done, device.platform.take_activity())
        return done

    def _count_activity(self, operations, runs):
        """Share the engines' activity out among the operations, which follow each other."""
        last = max((record.end for record in operations), default=0)
        for engine in engine_names(self._device.config):
            mine = [(run.begin - self._origin, _CAUSES[run.activity]) for run in runs
                    if run.engine == engine]
            starts = [(max(begin, 0), cause) for begin, cause in mine] or [(0, "idle")]
            ends = [begin for begin, _ in starts[1:]] + [max(last, starts[-1][0])]
            place = 0
            for record in operations:
                counts = record.activity[engine] = dict.fromkeys(_CAUSES.values(), 0)
                while place and starts[place][0] > record.begin:
                    place -= 1
                while place < len(ends) - 1 and ends[place] <= record.begin:
                    place += 1
                position = place
                while position < len(ends) and starts[position][0] < record.end:
                    begin, cause = starts[position]
                    counts[cause] += max(0, min(ends[position], record.end)
                                         - max(begin, record.begin))
                    position += 1
                counts["idle"] += record.cycles - sum(counts.values())
