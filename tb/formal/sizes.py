"""Small configurations for proofs."""

from .mutate import Edit

__all__ = ["SMALL_BURSTS", "SMALL_GM", "small_config"]


def small_config(**changes):
    """The smallest legal configuration, with ``changes``."""
    from xpu_rtl.params import XpuConfig

    return XpuConfig(**{
        "name": "formal", "lanes": 4, "acc_rows": 4, "epilogue_lanes": 4, "tile_blocks": 1,
        "sm_bytes": 128, "sm_banks": 2, "max_bursts": 2, "engine_queue_slots": 4,
        "fetch_slots": 4, "semaphores": 4, "semaphore_width": 20, **changes})


#: Bursts of at most 4 beats, and a read buffer of 8.
SMALL_BURSTS = (
    Edit("xpu_rtl.params",
         "return min(256, 4096 // self.bus_bytes, max(16, 1024 // self.bus_bytes))", "return 4"),
    Edit("xpu_rtl.params", "return 1 << (self.burst_beats + 112 - 1).bit_length()", "return 8"),
)

#: A GM of 8 pages; windows are of as many bits.
SMALL_GM = (
    Edit("xpu_rtl.address_map", "OFFSET_WIDTH = 44 ", "OFFSET_WIDTH = 15 "),
    Edit("xpu_rtl.command.windows", "unsigned(32) for n", "unsigned(3) for n"),
)
