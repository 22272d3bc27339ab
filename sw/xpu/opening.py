"""Opening a device."""

from xpu_rtl.configs import get_config

from .device import Device
from .errors import ArgumentError

__all__ = ["observers", "open_device"]

#: Called with every device that is opened; for tools.
observers = []


def open_device(config="slice", platform="native", *, memory_latency=20, memory_bytes=256 << 20,
                memory_stall=None, timeout_cycles=1_000_000, **options):
    """Open a device.

    Parameters
    ----------
    config : str or XpuConfig
        Configuration of the hardware. An open platform brings its own; then this must be the
        same or be left out.
    platform : str or Platform
        ``"native"``: the RTL in a compiled simulation. ``"model"``: the functional model, bit-exact
        and without time. Or an open platform, which is closed with the device.
    memory_latency : int
        Cycles from a read address to its first data beat, and from the last write data beat to the
        response; at least 1.
    memory_bytes : int
        Size of device memory.
    memory_stall : None, float, dict or MemoryStall
        Random stalls of the memory, see ``NativePlatform``.
    timeout_cycles : int
        Cycles without progress after which waiting raises ``HangError``.
    **options
        Further arguments of the platform.

    Raises
    ------
    ArgumentError
        An argument is out of range.
    ContractError
        The hardware is not the one this driver was written for.
    """
    for name, value, least in (("memory_latency", memory_latency, 1),
                               ("memory_bytes", memory_bytes, 1 << 20),
                               ("timeout_cycles", timeout_cycles, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ArgumentError(f"{name} must be an integer of at least {least}, not {value!r}")
    if isinstance(platform, str):
        platform = _make_platform(config, platform, memory_bytes, options,
                                  memory_latency=memory_latency, memory_stall=memory_stall)
    elif options:
        raise ArgumentError(f"xpu.open: {next(iter(options))} is an option of a platform opened by "
                            f"name; the open platform {platform.name!r} has its own already")
    elif config not in ("slice", platform.config.name, platform.config):
        raise ArgumentError(f"config must be that of the platform, {platform.config.name!r}, "
                            f"not {config!r}")
    try:
        device = Device(platform, timeout_cycles=timeout_cycles)
    except BaseException:
        platform.close()
        raise
    for observer in observers:
        observer(device)
    return device


def _make_platform(config, name, memory_bytes, options, **timing):
    if name not in ("native", "model"):
        raise ArgumentError(f"platform must be 'native', 'model' or a Platform, not {name!r}")
    try:
        config = get_config(config)
        if name == "model":
            from .platforms.model import ModelPlatform
            return ModelPlatform(config, memory_bytes=memory_bytes, **options)
        from .platforms.native import NativePlatform
        return NativePlatform(config, memory_bytes=memory_bytes, **timing, **options)
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"xpu.open: {error}") from error
