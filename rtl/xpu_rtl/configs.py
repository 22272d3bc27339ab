"""Named configurations. The tests build each of them."""

from .params import XpuConfig

__all__ = ["CONFIGS", "get_config"]

CONFIGS = {config.name: config for config in (
    XpuConfig(name="tiny", lanes=4, acc_rows=16, epilogue_lanes=2, tile_blocks=4,
              sm_bytes=16 * 1024, sm_banks=4, max_bursts=16, engine_queue_slots=4, fetch_slots=8,
              simd_cores=1, vlen=128, simd_width=64, lm_bytes=8 * 1024, icache_lines=16,
              semaphores=16),
    XpuConfig(name="ecp5", lanes=8, types=("int8", "int16"), acc_rows=128, epilogue_lanes=2,
              tile_blocks=8, sm_bytes=128 * 1024, sm_banks=8, max_bursts=32, dma_streams=1,
              simd_cores=1, vector=False, vlen=128, simd_width=64, lm_bytes=8 * 1024,
              icache_lines=64,
              engine_queue_slots=8, fetch_slots=8, semaphores=16),
    # The cores' vector units are left out of ecp5 and slice for now: four of 256 bits make a model
    # that is too slow, and their clock on an FPGA is unknown.
    XpuConfig(name="slice"),
)}


def get_config(config):
    """Return a configuration from its name, or the configuration itself.

    Raises
    ------
    ValueError
        The name is unknown.
    """
    if isinstance(config, XpuConfig):
        return config
    try:
        return CONFIGS[config]
    except (KeyError, TypeError):
        names = ", ".join(sorted(CONFIGS))
        raise ValueError(f"config must be an XpuConfig or one of {names}, not {config!r}") from None
