"""In-order decoding of a ring's command slots."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..address_map import Space
from ..params import XpuConfig
from .engines import STREAMS, engine_formats, queue_of
from .fetch import REFUSED
from .formats import (
    CONV,
    DMA_COPY,
    DMA_ND,
    FENCE,
    GEMM,
    HEADER,
    LAUNCH,
    NOP,
    FaultCause,
    Opcode,
)
from .types import CommandBeat, SemaphoreAdd, SemaphoreView
from .waits import HeaderWaits
from .windows import RingWindows, semaphore_allowed

__all__ = ["Decoder"]

#: Formats of the opcodes this hardware executes.
LEGAL = {opcode: fmt for fmt in (NOP, FENCE, DMA_COPY, DMA_ND, GEMM, CONV, LAUNCH)
         for opcode in fmt.opcodes}
#: Opcodes executed here.
OWN = (*NOP.opcodes, *FENCE.opcodes)
#: Added to the space in the info of a PROTECTION that is about a write or a signal.
WRITE = 16
#: Semaphore fields checked here, the lowest bit first. Those of a body are the engine's to check.
CHECKED = ("wait0_semaphore", "wait1_semaphore", "signal0_semaphore", "signal1_semaphore")


class _Beat(data.StructLayout):
    """A beat after the first stage. Fields: ``data``; ``offset`` (beats since the start of its
    slot); ``header`` (of a command's first slot); ``end_of_slot``, ``end`` (of its command);
    ``target`` (one bit per queue); ``fence``; ``cause``, ``info``, ``number`` (why it is refused;
    the semaphore)."""

    def __init__(self, config, queues):
        super().__init__({
            "data": config.bus_width, "offset": range(config.slot_beats), "header": 1,
            "end_of_slot": 1, "end": 1, "target": queues, "fence": 1, "cause": 4, "info": 8,
            "number": 8,
        })


class Decoder(wiring.Component):
    """Check commands, pass those of engines to their queues, and execute NOP and FENCE.

    The first fault found ends decoding. It is reported when every earlier command is complete, so
    that exactly those have been executed; checks in this order: bus error or refused fetch, opcode,
    slot count, stream, reserved header bits, semaphores of the header from the lowest bit up, then
    the same against the ring's window. ``info`` is RRESP for a bus error, the bit position of the
    offending field for BAD_FIELD and BAD_SEMAPHORE, and as ``FaultCause`` says for PROTECTION.

    NOP waits for its semaphores, adds its signals and ends, holding up later commands meanwhile.
    FENCE ignores both.

    Parameters
    ----------
    config : XpuConfig
        Bus width, streams and number of semaphores.

    Members
    -------
    beats : In(stream.Signature(unsigned(config.bus_width + 2)))
        Slots in order, with RRESP or ``REFUSED`` above the data.
    windows : In(RingWindows())
        Semaphores that may be named.
    queue : Out(stream.Signature(CommandBeat(config))).array(queues)
        Beats of the commands of the engines, in the order of ``engine_formats``. The command's
        index replaces its tag.
    halt : In(1)
        Decode nothing more.
    drained : In(1)
        Every command passed to a queue is complete.
    view, signal : Out(SemaphoreView(config)), Out(stream.Signature(SemaphoreAdd()))
        Waits and signals of NOP.
    queued : Out(1)
        Pulse: an engine's command has been passed on.
    slot_done : Out(1)
        Pulse: a slot has been decoded.
    issued : Out(32)
        Commands decoded.
    busy : Out(1)
        Within a command, executing one, or about to report a fault.
    completed, sequence, interrupt : Out(1), Out(32), Out(1)
        Pulse: a FENCE is complete; its sequence and interrupt bit.
    fault, fault_cause, fault_info, fault_number, fault_offset : Out
        Level: the command number ``issued`` is refused; cause, info, offending semaphore of a
        PROTECTION, and the beat of its slot.

    Timing
    ------
    Latency: 3 cycles from a beat to its queue (``LATENCY``).
    Throughput: one beat per cycle; a command without waits and signals that executes here takes
    ``slot_beats + 1`` cycles.
    Backpressure: full.
    Combinational paths: ``queue[*].ready`` to ``beats.ready``; ``halt`` to ``queue[*].valid``.
    Reset: no command; ``issued`` 0.
    """

    LATENCY = 3

    def __init__(self, config: XpuConfig):
        self._config = config
        self._queues = len(engine_formats(config))
        super().__init__({
            "beats": In(stream.Signature(unsigned(config.bus_width + 2))),
            "windows": In(RingWindows()),
            "queue": Out(stream.Signature(CommandBeat(config))).array(self._queues),
            "halt": In(1), "drained": In(1),
            "view": Out(SemaphoreView(config)), "signal": Out(stream.Signature(SemaphoreAdd())),
            "queued": Out(1), "slot_done": Out(1), "issued": Out(32), "busy": Out(1),
            "completed": Out(1), "sequence": Out(32), "interrupt": Out(1),
            "fault": Out(1), "fault_cause": Out(4), "fault_info": Out(8),
            "fault_number": Out(8), "fault_offset": Out(range(config.slot_beats)),
        })

    def _field(self, name, fmt=HEADER):
        """Beat of a header (or body) field, and its bits in the beat."""
        beat, lsb = divmod(fmt.lsb[name], self._config.bus_width)
        width = next(field.width for field in fmt.fields if field.name == name)
        return beat, slice(lsb, lsb + width)

    def elaborate(self, platform):
        m = Module()
        # Stage 0: a register alone, because beats come out of a block RAM late in their cycle.
        s0 = Signal(len(self.beats.payload), reset_less=True)
        s1 = Signal(_Beat(self._config, self._queues), reset_less=True)
        s0_valid, s1_valid, take, free = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [free.eq(~s1_valid | take), self.beats.ready.eq(~s0_valid | free)]
        with m.If(self.beats.ready):
            m.d.sync += s0_valid.eq(self.beats.valid)
        with m.If(self.beats.ready & self.beats.valid):
            m.d.sync += s0.eq(self.beats.payload)
        with m.If(free):
            m.d.sync += s1_valid.eq(s0_valid)
        with m.If(free & s0_valid):
            self._stage1(m, s0, s1)
        self._stage2(m, s1, s1_valid, take)
        return m

    def _stage1(self, m, s0, s1):
        """Position and checks of the beat that enters ``s1``."""
        cfg = self._config
        beat = s0[:cfg.bus_width]
        resp = s0[cfg.bus_width:]

        offset = Signal(range(cfg.slot_beats))
        header = Signal(init=1)           # in the first slot of a command
        left, left_now = (Signal(range(max(fmt.slots for fmt in LEGAL.values())), name=name)
                          for name in ("left", "left_now"))   # slots after this one
        target, target_now = Signal(self._queues), Signal(self._queues)
        fence, fence_now = Signal(), Signal()
        first, end_of_slot = Signal(), Signal()
        cause, info = Signal(4), Signal(8)
        stream, bad_stream = Signal(range(STREAMS)), Signal()
        m.d.comb += [first.eq(header & (offset == 0)),
                     end_of_slot.eq(offset == cfg.slot_beats - 1),
                     stream.eq(beat[self._field("stream")[1]]),
                     left_now.eq(left), target_now.eq(target), fence_now.eq(fence)]

        # Later assignments win, so the checks stand in ascending order of precedence.
        number = Signal(8)
        for name in reversed(CHECKED):
            position, bits = self._field(name)
            signal = name.startswith("signal")
            allowed = Signal(name=f"{name}_allowed")
            m.d.comb += allowed.eq(semaphore_allowed(self.windows, beat[bits], signal=signal))
            with m.If(header & (offset == position) & ~allowed):
                m.d.comb += [cause.eq(FaultCause.PROTECTION), number.eq(beat[bits]),
                             info.eq(Space.SEMAPHORE + (WRITE if signal else 0))]
        if self._config.semaphores < 256:
            for name in reversed(CHECKED):
                position, bits = self._field(name)
                with m.If(header & (offset == position)
                          & beat[bits][cfg.semaphore_bits:].any()):
                    m.d.comb += [cause.eq(FaultCause.BAD_SEMAPHORE), info.eq(HEADER.lsb[name])]
        with m.If(first):
            m.d.comb += [left_now.eq(0), target_now.eq(0), fence_now.eq(0)]
            with m.If(beat[self._field("reserved0")[1]].any()):
                m.d.comb += [cause.eq(FaultCause.BAD_FIELD), info.eq(HEADER.lsb["reserved0"])]
            with m.If(bad_stream):
                m.d.comb += [cause.eq(FaultCause.BAD_FIELD), info.eq(HEADER.lsb["stream"])]
            with m.Switch(beat[self._field("opcode")[1]]):
                for opcode, fmt in LEGAL.items():
                    if opcode is Opcode.LAUNCH and not cfg.simd_cores:
                        continue        # refused as any unknown opcode
                    with m.Case(int(opcode)):
                        m.d.comb += left_now.eq(fmt.slots - 1)
                        if opcode in OWN:
                            m.d.comb += [fence_now.eq(opcode is Opcode.FENCE),
                                         bad_stream.eq(stream != 0)]
                        else:
                            self._choose_queue(m, opcode, stream, target_now, bad_stream)
                        with m.If(beat[self._field("slots")[1]] != fmt.slots):
                            m.d.comb += [cause.eq(FaultCause.BAD_SLOTS), info.eq(0)]
                with m.Default():
                    m.d.comb += [cause.eq(FaultCause.BAD_OPCODE), info.eq(0)]
        with m.If(resp == REFUSED):
            m.d.comb += [cause.eq(FaultCause.PROTECTION), info.eq(Space.GM)]
        with m.If(resp[1]):
            m.d.comb += [cause.eq(FaultCause.FETCH), info.eq(resp)]

        m.d.sync += [
            offset.eq(Mux(end_of_slot, 0, offset + 1)), target.eq(target_now), fence.eq(fence_now),
            left.eq(left_now - (end_of_slot & (left_now != 0))),
            s1.data.eq(beat), s1.offset.eq(offset), s1.header.eq(header),
            s1.end_of_slot.eq(end_of_slot), s1.end.eq(end_of_slot & (left_now == 0)),
            s1.target.eq(target_now), s1.fence.eq(fence_now), s1.cause.eq(cause), s1.info.eq(info),
            s1.number.eq(number),
        ]
        with m.If(end_of_slot):
            m.d.sync += header.eq(left_now == 0)

    def _choose_queue(self, m, opcode, stream, target, bad):
        """Set the bit in ``target`` of the stream, or ``bad`` if there is none."""
        with m.Switch(stream):
            for number in range(STREAMS):
                with m.Case(number):
                    queue = queue_of(self._config, opcode, number)
                    m.d.comb += bad.eq(1) if queue is None else target[queue].eq(1)

    def _stage2(self, m, s1, s1_valid, take):
        """Pass the beat in ``s1`` on, or execute the command it ends."""
        cfg = self._config
        m.submodules.waits = waits = HeaderWaits(cfg)
        wiring.connect(m, waits.view, wiring.flipped(self.view))

        # What NOP and FENCE need from their slot.
        held = {}
        for fmt, names in ((HEADER, (*CHECKED, "wait0_value", "wait1_value", "signal0_add",
                                     "signal1_add", "interrupt")), (FENCE, ("sequence",))):
            for name in names:
                position, bits = self._field(name, fmt)
                held[name] = Signal(bits.stop - bits.start, name=name, reset_less=True)
                with m.If(take & ~s1.target.any() & (s1.offset == position)):
                    m.d.sync += held[name].eq(s1.data[bits])
        plain, second = Signal(), Signal()
        m.d.comb += [
            plain.eq(~Cat(held[name] for name in CHECKED).any()),
            waits.wait0_semaphore.eq(held["wait0_semaphore"]),
            waits.wait0_value.eq(held["wait0_value"]),
            waits.wait1_semaphore.eq(held["wait1_semaphore"]),
            waits.wait1_value.eq(held["wait1_value"]),
            self.signal.p.semaphore.eq(Mux(second, held["signal1_semaphore"],
                                           held["signal0_semaphore"])),
            self.signal.p.amount.eq(Mux(second, held["signal1_add"], held["signal0_add"])),
            self.sequence.eq(held["sequence"]), self.interrupt.eq(held["interrupt"]),
            self.fault_cause.eq(s1.cause), self.fault_info.eq(s1.info),
            self.fault_number.eq(s1.number), self.fault_offset.eq(s1.offset),
        ]

        passed_on = Signal(cfg.bus_width)
        tag_beat, tag_bits = self._field("tag")
        m.d.comb += passed_on.eq(s1.data)
        with m.If(s1.header & (s1.offset == tag_beat)):
            m.d.comb += passed_on[tag_bits].eq(self.issued)
        ready = Signal(self._queues)
        passing = Signal()   # the beat may leave if its queue takes it
        for n, queue in enumerate(self.queue):
            m.d.comb += [queue.p.data.eq(passed_on), queue.p.last.eq(s1.end),
                         queue.valid.eq(passing & s1.target[n]), ready[n].eq(queue.ready)]

        within, fencing = Signal(), Signal()
        with m.If(take):
            m.d.sync += [within.eq(~s1.end), fencing.eq(s1.fence)]
        with m.If(take & s1.end):
            m.d.sync += self.issued.eq(self.issued + 1)
        m.d.comb += [self.slot_done.eq(take & s1.end_of_slot),
                     self.queued.eq(take & s1.end & s1.target.any())]
        with m.FSM(name="execute") as fsm:
            with m.State("pass"):
                m.d.comb += passing.eq(s1_valid & ~self.halt & (s1.cause == 0))
                m.d.comb += take.eq(passing & (~s1.target.any() | (s1.target & ready).any()))
                with m.If(s1_valid & ~self.halt & (s1.cause != 0)):
                    m.next = "refuse"
                with m.Elif(take & s1.end & ~s1.target.any()):
                    m.next = "control"
            with m.State("control"):        # what to do with a NOP or FENCE
                m.d.sync += second.eq(0)
                with m.If(fencing):
                    m.next = "fence"
                with m.Elif(plain):
                    m.next = "pass"
                with m.Else():
                    m.next = "wait"
            with m.State("fence"):          # for earlier commands
                with m.If(self.drained & ~self.halt):
                    m.d.comb += self.completed.eq(1)
                    m.next = "pass"
            with m.State("wait"):           # for the semaphores of a NOP
                m.d.comb += waits.enable.eq(1)
                with m.If(waits.satisfied & ~self.halt):
                    m.next = "signal"
            with m.State("signal"):         # signal0, then signal1 to be taken
                m.d.comb += self.signal.valid.eq(1)
                with m.If(self.signal.ready):
                    m.d.sync += second.eq(1)
                    with m.If(second):
                        m.next = "pass"
            with m.State("refuse"):         # for earlier commands; left by reset only
                m.d.comb += self.fault.eq(self.drained)
        m.d.comb += self.busy.eq(within | ~fsm.ongoing("pass"))
