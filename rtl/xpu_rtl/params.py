"""Design parameters. Every derived width or depth is a property here, and nowhere else."""

import dataclasses
from dataclasses import dataclass

__all__ = ["OPERAND_TYPES", "XpuConfig"]

#: Operand types a tensor unit can be built for; int8 stands for uint8 as well.
OPERAND_TYPES = ("int8", "int16", "float16", "bfloat16")


def _power_of_two(value):
    return isinstance(value, int) and value > 0 and not value & (value - 1)


@dataclass(frozen=True, kw_only=True)
class XpuConfig:
    """Every knob of one compute cluster.

    Parameters
    ----------
    name : str
        Name of the configuration; part of the contract hash.
    lanes : int
        Terms per dot product and output channels of the tensor unit, and bytes per scratchpad word
        and per bus beat: one activation word feeds the array each cycle. 4 to 64, a power of two.
    types : tuple of str
        Operand types of the tensor unit, some of ``OPERAND_TYPES``. int8 covers uint8 and reaches
        lanes * lanes multiply-accumulates per cycle; the 16-bit types half as many.
    acc_rows : int
        Rows of one of the two accumulator memories; a row holds ``lanes`` sums. Power of two,
        at least ``lanes``.
    epilogue_lanes : int
        Sums the epilogue finishes per cycle. Power of two, at most ``lanes``.
    tile_blocks : int
        Most column blocks (of ``lanes`` channels) in one accumulator tile. Power of two.
    sm_bytes : int
        Scratchpad size in bytes. Power of two.
    sm_banks : int
        Single-port scratchpad banks. Power of two.
    max_bursts : int
        AXI bursts each DMA stream keeps outstanding. Power of two.
    dma_streams : int
        Independent streams of each DMA side (load, store), 1 or 2.
    simd_cores : int
        Cores of the SIMD cluster, 0 (none) to 8.
    vlen : int
        Bits of a core's vector register. Power of two, 128 to 1,024.
    vector : bool
        Cores have a vector unit.
    simd_width : int
        Bits of a core's datapath and local memory words. Power of two, 64 to ``vlen``.
    lm_bytes : int
        Local memory of a core. Power of two, 1 KiB to 1 MiB.
    icache_lines : int
        Lines of 64 bytes of the instruction cache that the cores share. Power of two, 4 to 256.
    rings : int
        Host-visible command rings, 1 to 8.
    engine_queue_slots : int
        Depth of the queue before each engine, in command slots (64 bytes). Power of two.
    fetch_slots : int
        Slots of commands prefetched per ring. Power of two.
    semaphores : int
        Semaphores; number 0 means "none" in commands, so one less is usable. Power of two.
    semaphore_width : int
        Bits of a semaphore; comparisons are modulo, so waits reach half the range ahead.
    """

    name: str
    lanes: int = 16
    types: tuple = OPERAND_TYPES
    acc_rows: int = 256
    epilogue_lanes: int = 8
    tile_blocks: int = 16
    sm_bytes: int = 512 * 1024
    sm_banks: int = 32
    max_bursts: int = 64
    dma_streams: int = 2
    simd_cores: int = 4
    vlen: int = 512
    vector: bool = True
    simd_width: int = 256
    lm_bytes: int = 16 * 1024
    icache_lines: int = 256
    rings: int = 1
    engine_queue_slots: int = 16
    fetch_slots: int = 16
    semaphores: int = 32
    semaphore_width: int = 24

    def __post_init__(self):
        def need(field, ok, rule):
            if not ok:
                raise ValueError(f"{field} must be {rule}, not {getattr(self, field)!r}")

        for field in ("lanes", "acc_rows", "epilogue_lanes", "tile_blocks", "sm_bytes", "sm_banks",
                      "max_bursts", "engine_queue_slots", "fetch_slots", "semaphores", "vlen",
                      "simd_width", "lm_bytes", "icache_lines"):
            need(field, _power_of_two(getattr(self, field)), "a power of two")
        need("lanes", 4 <= self.lanes <= 64, "between 4 and 64")
        need("types", isinstance(self.types, tuple) and self.types == tuple(
            name for name in OPERAND_TYPES if name in self.types) and self.types,
             f"a tuple of one or more of {', '.join(OPERAND_TYPES)}, in this order")
        need("acc_rows", self.lanes <= self.acc_rows <= 4096,
             f"between lanes={self.lanes} and 4096")
        need("epilogue_lanes", self.epilogue_lanes <= self.lanes,
             f"at most lanes={self.lanes}")
        need("tile_blocks", 1 <= self.tile_blocks <= 128, "between 1 and 128")
        need("sm_banks", 2 <= self.sm_banks <= 64, "between 2 and 64")
        need("sm_bytes", 16 * self.sm_banks * self.lanes <= self.sm_bytes <= 1 << 24,
             f"between 16 rows of {self.sm_banks} banks of {self.lanes} bytes and 16 MiB")
        need("max_bursts", 2 <= self.max_bursts <= 256, "between 2 and 256")
        need("dma_streams", self.dma_streams in (1, 2), "1 or 2")
        need("simd_cores", isinstance(self.simd_cores, int) and 0 <= self.simd_cores <= 8,
             "between 0 and 8")
        need("vector", isinstance(self.vector, bool), "True or False")
        need("vlen", 128 <= self.vlen <= 1024, "between 128 and 1024 bits")
        need("simd_width", 64 <= self.simd_width <= self.vlen, f"between 64 and vlen={self.vlen}")
        need("lm_bytes", 1024 <= self.lm_bytes <= 1 << 20, "between 1 KiB and 1 MiB")
        need("icache_lines", 4 <= self.icache_lines <= 256, "between 4 and 256")
        need("rings", isinstance(self.rings, int) and 1 <= self.rings <= 8, "between 1 and 8")
        need("engine_queue_slots", 4 <= self.engine_queue_slots <= 256, "between 4 and 256")
        need("fetch_slots", 4 <= self.fetch_slots <= 64, "between 4 and 64")
        need("semaphores", 4 <= self.semaphores <= 256, "between 4 and 256")
        need("semaphore_width",
             isinstance(self.semaphore_width, int) and 20 <= self.semaphore_width <= 32,
             "between 20 and 32 bits")

    # Array -------------------------------------------------------------------------------------
    @property
    def macs_per_cycle(self):
        """INT8 multiply-accumulates per cycle."""
        return self.lanes * self.lanes

    @property
    def has_int8(self):
        return "int8" in self.types

    @property
    def has_int16(self):
        return "int16" in self.types

    @property
    def has_float(self):
        """FP16 or BF16 operands."""
        return "float16" in self.types or "bfloat16" in self.types

    @property
    def wide_lanes(self):
        """Terms per dot product of 16-bit operands."""
        return self.lanes // 2

    @property
    def acc_width(self):
        """Bits of an accumulator: INT32 and FP32 need 32; INT16 never overflows for K <= 65,536."""
        return 48 if self.has_int16 else 32

    # Scratchpad and bus --------------------------------------------------------------------------
    @property
    def word_bytes(self):
        """Bytes of a scratchpad word."""
        return self.lanes

    @property
    def word_width(self):
        return 8 * self.word_bytes

    @property
    def word_shift(self):
        """log2 of ``word_bytes``."""
        return self.word_bytes.bit_length() - 1

    @property
    def bus_bytes(self):
        """Bytes of an AXI beat."""
        return self.lanes

    @property
    def bus_width(self):
        return 8 * self.bus_bytes

    @property
    def sm_words(self):
        return self.sm_bytes // self.word_bytes

    @property
    def sm_addr_width(self):
        """Bits of a scratchpad word address."""
        return self.sm_words.bit_length() - 1

    @property
    def sm_byte_width(self):
        """Bits of a scratchpad byte address."""
        return self.sm_bytes.bit_length() - 1

    @property
    def bank_width(self):
        """Bits of a bank number."""
        return self.sm_banks.bit_length() - 1

    @property
    def bank_rows(self):
        return self.sm_words // self.sm_banks

    @property
    def burst_beats(self):
        """Most beats of an AXI burst: 4 KiB, 256 beats and 1 KiB fairness limits combined."""
        return min(256, 4096 // self.bus_bytes, max(16, 1024 // self.bus_bytes))

    @property
    def read_beats(self):
        """Beats of read data a DMA stream reserves room for: one burst and 112 beats, so that the
        data of a memory with 100 cycles of latency never run out, rounded up to a power of two."""
        return 1 << (self.burst_beats + 112 - 1).bit_length()

    # Commands ------------------------------------------------------------------------------------
    @property
    def slot_beats(self):
        """Bus beats of a 64-byte command slot."""
        return 64 // self.bus_bytes

    @property
    def semaphore_bits(self):
        """Bits of a semaphore number."""
        return self.semaphores.bit_length() - 1

    def as_dict(self):
        """Fields by name, as JSON has them, for the contract and ``top.json``."""
        return {name: list(value) if isinstance(value, tuple) else value
                for name, value in dataclasses.asdict(self).items()}
