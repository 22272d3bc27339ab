"""Small configurations for proofs."""

__all__ = ["small_config"]


def small_config(**changes):
    """The smallest legal configuration, with ``changes``."""
    from xpu_rtl.params import XpuConfig

    return XpuConfig(**{
        "name": "formal", "lanes": 4, "acc_rows": 4, "epilogue_lanes": 4, "tile_blocks": 1,
        "sm_bytes": 128, "sm_banks": 2, "max_bursts": 2, "engine_queue_slots": 4,
        "fetch_slots": 4, "semaphores": 4, "semaphore_width": 20, **changes})
