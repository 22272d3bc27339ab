"""Control and status registers of a core: floating point, traps, counters, identity, exit."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..float.ieee import Flags, Rounding
from ..params import XpuConfig
from ..vector.types import VectorShape, VectorState
from .csr_numbers import Csr

__all__ = ["CsrFile"]


_MISA = 1 << 30 | sum(1 << ord(letter) - ord("a") for letter in "fim")
_VS, _FS = 9, 13    #: lowest bits of fields of mstatus


class CsrFile(wiring.Component):
    """The registers, read and written by one instruction at a time.

    Writes follow RISC-V: fields that are read-only keep their values. There is only machine mode,
    and no interrupts. ``mstatus.FS`` and ``VS`` are off after a reset, so that a program has to
    switch floating point and vectors on; they become dirty with the first result.

    Parameters
    ----------
    config : XpuConfig
        ``vlen``.

    Members
    -------
    number, read, present : In(12), Out(32), Out(1)
        Register looked at, its value, and whether it exists. Combinational.
    write, value, written : In(1), In(32), Out(32)
        Write ``value`` to it; what it holds then (combinational).
    start : In(1)
        A kernel begins: traps, rounding and flags are reset.
    trap, cause, pc, trap_value : In
        A trap is taken.
    mret : In(1)
        Return from it.
    status : Out(32)
        ``mstatus`` as it will be after an MRET.
    handler, handled, return_pc : Out(32), Out(1), Out(32)
        Where traps go, whether they go anywhere (``mtvec`` is not 0), where MRET goes.
    retired : In(1)
        An instruction retires.
    flags_valid, flags : In(1), In(Flags)
        Exceptions of a floating-point operation. Not with a write.
    float_written : In(1)
        A floating-point register is written.
    float_on, rounding : Out(1), Out(Rounding)
        Floating-point instructions are legal; dynamic rounding mode.
    vector_on, vector : Out(1), Out(VectorState(config))
        Vector instructions are legal; what they work with.
    configure, new : In(1), In(VectorState(config))
        Take ``vl`` and ``vtype`` of ``new``.
    vector_done : In(1)
        A vector instruction retires: ``vstart`` becomes 0.
    vstart_set, vl_set, place : In(1), In(1), In(range(vlen))
        ``vstart``, or ``vl``, becomes ``place``.
    saturated : In(1)
        A fixed-point result is.
    hart, cores, argument : In
        Identity and launch, as the registers show them.

    Timing
    ------
    Latency: writes count from the next cycle on. Throughput: an access per cycle.
    Backpressure: none. Combinational paths: ``number`` to ``read``, ``present``; ``value`` to
    ``written``.
    Reset: all registers.
    """

    def __init__(self, config: XpuConfig):
        self._config = config
        shape = VectorShape(config)
        super().__init__({
            "number": In(12), "read": Out(32), "present": Out(1),
            "write": In(1), "value": In(32), "written": Out(32), "start": In(1),
            "trap": In(1), "cause": In(5), "pc": In(32), "trap_value": In(32), "mret": In(1),
            "status": Out(32), "handler": Out(32), "handled": Out(1), "return_pc": Out(32),
            "retired": In(1), "flags_valid": In(1), "flags": In(Flags), "float_written": In(1),
            "float_on": Out(1), "rounding": Out(Rounding),
            "vector_on": Out(1), "vector": Out(VectorState(config)), "configure": In(1),
            "new": In(VectorState(config)), "vector_done": In(1), "vstart_set": In(1),
            "vl_set": In(1), "place": In(shape.index_bits), "saturated": In(1),
            "hart": In(32), "cores": In(32), "argument": In(32),
        })

    def elaborate(self, platform):
        m = Module()
        fflags, frm = Signal(5), Signal(3)
        vs, fs, mie, mpie = Signal(2), Signal(2), Signal(), Signal()
        vector, vxsat = self.vector, Signal()
        vtype = Mux(vector.vill, 1 << 31, Cat(vector.lmul.as_unsigned(), vector.sew,
                                              vector.vta, vector.vma))
        mtvec, mscratch, mepc = Signal(32), Signal(32), Signal(32)
        mcause, mtval = Signal(32), Signal(32)
        cycles, instructions = Signal(64), Signal(64)

        def status(vs, fs, mie, mpie):
            return Cat(Const(0, 3), mie, Const(0, 3), mpie, Const(0, 1), vs, Const(3, 2), fs,
                       Const(0, 16), fs.all() | vs.all())

        value = self.value
        new_mtvec = Cat(Const(0, 2), value[2:])
        registers = {   # name: (value, value after a write, what a write does)
            Csr.FFLAGS: (fflags, value[:5], [fflags.eq(value)]),
            Csr.FRM: (frm, value[:3], [frm.eq(value)]),
            Csr.FCSR: (Cat(fflags, frm), value[:8], [Cat(fflags, frm).eq(value)]),
            Csr.VSTART: (vector.vstart, value[:len(vector.vstart)], [vector.vstart.eq(value)]),
            Csr.VXSAT: (vxsat, value[0], [vxsat.eq(value)]),
            Csr.VXRM: (vector.vxrm, value[:2], [vector.vxrm.eq(value)]),
            Csr.VCSR: (Cat(vxsat, vector.vxrm), value[:3], [Cat(vxsat, vector.vxrm).eq(value)]),
            Csr.MSTATUS: (status(vs, fs, mie, mpie),
                          status(value[_VS:_VS + 2] if self._config.vector else Const(0, 2),
                                 value[_FS:_FS + 2], value[3], value[7]),
                          [vs.eq(value[_VS:]), fs.eq(value[_FS:]), mie.eq(value[3]),
                           mpie.eq(value[7])]),
            Csr.MTVEC: (mtvec, new_mtvec, [mtvec.eq(new_mtvec)]),
            Csr.MSCRATCH: (mscratch, value, [mscratch.eq(value)]),
            Csr.MEPC: (mepc, new_mtvec, [mepc.eq(new_mtvec)]),
            Csr.MCAUSE: (mcause, value, [mcause.eq(value)]),
            Csr.MTVAL: (mtval, value, [mtval.eq(value)]),
            Csr.MCYCLE: (cycles[:32], value, [cycles[:32].eq(value)]),
            Csr.MCYCLEH: (cycles[32:], value, [cycles[32:].eq(value)]),
            Csr.MINSTRET: (instructions[:32], value, [instructions[:32].eq(value)]),
            Csr.MINSTRETH: (instructions[32:], value, [instructions[32:].eq(value)]),
            Csr.EXIT: (Const(0), value, []),
            Csr.BARRIER: (Const(0), Const(0), []),
        }
        constants = {
            Csr.MISA: _MISA, Csr.MIE: 0, Csr.MIP: 0, Csr.MSTATUSH: 0, Csr.MCOUNTINHIBIT: 0,
            Csr.CYCLE: cycles[:32], Csr.CYCLEH: cycles[32:], Csr.TIME: cycles[:32],
            Csr.TIMEH: cycles[32:], Csr.INSTRET: instructions[:32],
            Csr.INSTRETH: instructions[32:], Csr.MVENDORID: 0, Csr.MARCHID: 0, Csr.MIMPID: 0,
            Csr.VL: vector.vl, Csr.VTYPE: vtype, Csr.VLENB: self._config.vlen // 8,
            Csr.MHARTID: self.hart, Csr.MCONFIGPTR: 0, Csr.CORE_COUNT: self.cores,
            Csr.ARGUMENT: self.argument,
        }
        m.d.sync += [cycles.eq(cycles + 1), instructions.eq(instructions + self.retired)]
        with m.If(self.flags_valid):
            m.d.sync += fflags.eq(fflags | self.flags.as_value())
        with m.If(self.float_written | (self.flags_valid & self.flags.as_value().any())):
            m.d.sync += fs.eq(3)
        with m.Switch(self.number):
            for number, (now, then, effect) in registers.items():
                with m.Case(number):
                    m.d.comb += [self.read.eq(now), self.written.eq(then), self.present.eq(1)]
                    with m.If(self.write):
                        m.d.sync += effect
                        if number in (Csr.FFLAGS, Csr.FRM, Csr.FCSR):
                            m.d.sync += fs.eq(3)
                        if Csr.VSTART <= number <= Csr.VCSR:
                            m.d.sync += vs.eq(3)
            for number, now in constants.items():
                with m.Case(number):
                    m.d.comb += [self.read.eq(now), self.written.eq(now), self.present.eq(1)]
        with m.If((self.number <= Csr.FCSR) & ~self.float_on):
            m.d.comb += self.present.eq(0)
        with m.If(((self.number[2:] == Csr.VSTART >> 2) | (self.number == Csr.VCSR)
                   | (self.number[2:] == Csr.VL >> 2)) & ~self.vector_on):
            m.d.comb += self.present.eq(0)
        with m.If(self.vector_done | self.configure):
            m.d.sync += [vector.vstart.eq(0), vs.eq(3)]
        with m.If(self.configure):
            m.d.sync += [vector[name].eq(self.new[name]) for name in (
                "vl", "vill", "vma", "vta", "sew", "lmul")]
        with m.If(self.vstart_set):
            m.d.sync += vector.vstart.eq(self.place)
        with m.If(self.vl_set):
            m.d.sync += vector.vl.eq(self.place)
        with m.If(self.saturated):
            m.d.sync += vxsat.eq(1)
        if not self._config.vector:
            m.d.sync += vs.eq(0)
        with m.If(self.trap):
            m.d.sync += [mepc.eq(self.pc), mcause.eq(self.cause), mtval.eq(self.trap_value),
                         mpie.eq(mie), mie.eq(0)]
        with m.If(self.mret):
            m.d.sync += [mie.eq(mpie), mpie.eq(1)]
        with m.If(self.start):
            m.d.sync += [fflags.eq(0), frm.eq(0), fs.eq(0), vs.eq(0), mie.eq(0), mpie.eq(0),
                         mtvec.eq(0), cycles.eq(0), instructions.eq(0), vxsat.eq(0),
                         vector.eq(VectorState(self._config).const({"vill": 1}))]
        m.d.comb += [
            self.status.eq(status(vs, fs, mpie, Const(1))), self.handler.eq(mtvec),
            self.handled.eq(mtvec != 0), self.return_pc.eq(mepc),
            self.float_on.eq(fs != 0), self.vector_on.eq(vs != 0),
            self.rounding.eq(Mux(frm > 4, Rounding.DYNAMIC.value, frm)),
        ]
        return m
