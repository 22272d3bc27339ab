"""What the emitter puts in place of primitives."""

from importlib import resources

from amaranth import Cat, ClockSignal, Instance, Module, Signal

from ..prims.shared import instance_of

__all__ = ["SimulationPlatform", "VerilogPlatform"]


class VerilogPlatform:
    """Memories as instances of three parametrised modules, so that tools infer block RAM.

    Amaranth would write one initial line per word (a minute for the scratchpad) and one module per
    memory. ``primitives()`` is the text of the modules; an emitted file starts with it.

    Parts that are there several times are one module each: ``shared`` has them by name, for the
    emitter.
    """

    def __init__(self):
        self.shared = {}

    def get_shared(self, component, name, reset):
        if self.shared.setdefault(name, component) is not component:
            component._MustUse__used = True     # its interface is; Amaranth warns otherwise
        return instance_of(component, name, reset)

    def get_sram_1rw(self, sram):
        m = Module()
        m.submodules.sram = Instance(
            "xpu_sram_1rw", p_DEPTH=sram.depth, p_WIDTH=sram.width, i_clk=ClockSignal(),
            i_en=sram.en, i_write=sram.write, i_addr=sram.addr, i_w_data=sram.w_data,
            i_w_strobe=sram.w_strobe, o_r_data=sram.r_data)
        return m

    def get_sram_1r1w(self, sram):
        m = Module()
        m.submodules.sram = Instance(
            "xpu_sram_1r1w", p_DEPTH=sram.depth, p_WIDTH=sram.width,
            p_GRANULARITY=sram.granularity, i_clk=ClockSignal(), i_r_en=sram.r_en,
            i_r_addr=sram.r_addr, o_r_data=sram.r_data, i_w_en=sram.w_en, i_w_addr=sram.w_addr,
            i_w_data=sram.w_data)
        return m

    def get_register_file(self, memory):
        m = Module()
        m.submodules.memory = Instance(
            "xpu_register_file", p_DEPTH=memory.depth, p_WIDTH=memory.width, p_READS=memory.reads,
            i_clk=ClockSignal(), i_w_strobe=memory.w_strobe, i_w_addr=memory.w_addr,
            i_w_data=memory.w_data, i_r_addr=Cat(port.addr for port in memory.read),
            o_r_data=Cat(port.data for port in memory.read))
        return m

    PRIMITIVES = ("xpu_sram_1rw.sv", "xpu_sram_1r1w.sv", "xpu_register_file.sv")

    @classmethod
    def primitives(cls):
        folder = resources.files("xpu_rtl.prims") / "verilog"
        return "\n".join((folder / name).read_text(encoding="utf-8") for name in cls.PRIMITIVES)


class SimulationPlatform(VerilogPlatform):
    """The same with gated clocks: Verilator skips what is not clocked. Not meant for an FPGA."""

    PRIMITIVES = (*VerilogPlatform.PRIMITIVES, "xpu_clock_gate.sv")

    def get_clock_gate(self, m, name, enable):
        gated = Signal(name=f"{name}_clk")
        m.submodules[f"{name}_clock_gate"] = Instance(
            "xpu_clock_gate", i_clk=ClockSignal(), i_en=enable, o_gated=gated)
        return gated
