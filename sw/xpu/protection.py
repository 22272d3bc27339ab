"""Windows of a ring onto memories and semaphores, from bytes to registers."""

from xpu_rtl.csr.maps import CLUSTER

from .errors import ArgumentError

__all__ = ["window_registers"]

_PAGE, _LINE = 4096, 64


def window_registers(config, memory_bytes, ring, gm, sm, semaphores, commands=None):
    """Return ``{register address: value}`` of the windows of a ring.

    Parameters
    ----------
    config : XpuConfig
        Sizes.
    memory_bytes : int
        Size of global memory.
    ring : int
        Number of the ring.
    gm, sm, semaphores
        As ``Device.protect`` takes them.
    commands : (int, int), optional
        First and last byte of commands the ring must be able to read.

    Raises
    ------
    ArgumentError
        An argument is out of range or misaligned.
    """
    if not isinstance(ring, int) or isinstance(ring, bool) or not 0 <= ring < config.rings:
        raise ArgumentError(f"protect: ring must lie in [0, {config.rings - 1}], not {ring!r}")
    values, permissions = {}, {}
    if gm is None:
        _put(values, permissions, "gm0", _all("gm0"), "rw")
        _put(values, permissions, "gm1", (0, 0), "")
    else:
        _gm(values, permissions, gm, memory_bytes, commands)
    if sm is None:
        _put(values, permissions, "sm", _all("sm"), "rw")
    else:
        *limits, letters = _window("sm", sm, config.sm_bytes - 1, _LINE, "rw")
        _put(values, permissions, "sm", limits, letters)
    if semaphores is None:
        first, last, letters = 0, 255, "ws"
    else:
        first, last, letters = _window("semaphores", semaphores, config.semaphores - 1, 1, "ws")
    values["semaphores"] = CLUSTER["window_semaphores"].pack(first=first, last=last)
    permissions |= {"wait": "w" in letters, "signal": "s" in letters}
    values["permissions"] = CLUSTER["window_permissions"].pack(**permissions)
    return {CLUSTER[f"window_{name}"].address(ring): int(value) for name, value in values.items()}


def _gm(values, permissions, gm, memory_bytes, commands):
    try:
        pieces = list(gm)
    except TypeError:
        pieces = [None] * 3
    if len(pieces) > 2:
        raise ArgumentError(f"protect: gm must be at most two pieces (first, last, permissions), "
                            f"not {gm!r}")
    windows = [_window(f"gm[{n}]", piece, memory_bytes - 1, _PAGE, "rw")
               for n, piece in enumerate(pieces)]
    readable = [(first * _PAGE, (last + 1) * _PAGE) for first, last, letters in windows
                if "r" in letters]
    if commands is not None:
        missing = commands[0]
        for first, end in sorted(readable):
            if first <= missing < end:
                missing = end
        if missing <= commands[1]:
            raise ArgumentError(f"protect: gm must let the ring read its own commands at bytes "
                                f"{commands[0]:#x} to {commands[1]:#x}, not only {gm!r}")
    for n in (0, 1):
        *limits, letters = windows[n] if n < len(windows) else (0, 0, "")
        _put(values, permissions, f"gm{n}", limits, letters)


def _put(values, permissions, name, limits, letters):
    values.update({f"{name}_first": limits[0], f"{name}_last": limits[1]})
    permissions.update({f"{name}_read": "r" in letters, f"{name}_write": "w" in letters})


def _all(name):
    return 0, CLUSTER[f"window_{name}_last"].fields[0].init


def _window(name, value, most, unit, letters):
    """Return first and last unit and the permissions of a window given by bytes."""
    try:
        first, last, permissions = value
        first, last = first.__index__(), last.__index__()
    except (AttributeError, TypeError, ValueError):
        raise ArgumentError(f"protect: {name} must be (first, last, permissions), "
                            f"not {value!r}") from None
    if (not isinstance(permissions, str) or not permissions
            or not set(permissions) <= set(letters)):
        raise ArgumentError(f"protect: permissions of {name} must be "
                            f"{', '.join(map(repr, letters))} or {letters!r}, "
                            f"not {permissions!r}")
    if not 0 <= first <= last <= most:
        raise ArgumentError(f"protect: {name} must have 0 <= first <= last <= {most:#x}, not "
                            f"{first:#x} and {last:#x}")
    if first % unit or (last + 1) % unit:
        raise ArgumentError(f"protect: {name} must be whole pieces of {unit} bytes, not bytes "
                            f"{first:#x} to {last:#x}")
    return first // unit, last // unit, permissions
