"""The user's cache of built models: looked up by key, built once, never seen half made."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from .progress import Progress

__all__ = ["clear", "info", "key_of", "lookup", "quick_lookup", "remember", "root", "store"]

LIBRARY = "libxpu.so"
_UNUSED_DAYS = 60


def root():
    """Return the folder: ``$XPU_CACHE``, else ``xpu`` in the user's cache folder."""
    if os.environ.get("XPU_CACHE"):
        return Path(os.environ["XPU_CACHE"]).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "xpu"


def _folder(name):
    path = root() / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def key_of(*parts):
    """Return the key of everything a cached thing depends on."""
    digest = hashlib.sha256()
    for part in parts:
        data = str(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:40]


def lookup(key):
    """Return the library of a model, or ``None``."""
    path = root() / "models" / key / LIBRARY
    if not path.exists():
        return None
    with contextlib.suppress(OSError):      # a read-only cache is as good
        os.utime(path.parent)
    return path


def quick_lookup(quick_key):
    """Return the library that ``remember`` noted for a hash of the sources, or ``None``."""
    try:
        return lookup((root() / "quick" / quick_key).read_text(encoding="ascii"))
    except OSError:                         # not there, or another user's
        return None


def remember(quick_key, key):
    """Note that sources with hash ``quick_key`` make the model ``key``."""
    folder = _folder("quick")
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="ascii") as file:
        file.write(key)
    Path(file.name).replace(folder / quick_key)


@contextlib.contextmanager
def _locked(key, *, wait=True):
    """Hold the lock of a key; yields whether it was got. The system drops it if we die."""
    path = _folder("locks") / key
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                yield False
                return
            with Progress("waiting for another process that builds the same model"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield True


def store(key, build, details):
    """Return the library of model ``key``; if there is none, make it.

    Parameters
    ----------
    key : str
        Names the model.
    build : callable
        ``build(folder)`` makes ``folder / LIBRARY`` in an empty folder; what else it leaves there
        is kept as well. It runs in one process at a time.
    details : dict
        For ``info``.
    """
    with _locked(key):
        found = lookup(key)
        if found:
            return found
        work = _folder("work")
        for dead in work.glob(f"{key}-*"):      # left by a process that was killed
            shutil.rmtree(dead, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=work))
        try:
            begin = time.monotonic()
            build(folder)
            details = details | {"build_seconds": round(time.monotonic() - begin, 1)}
            (folder / "info.json").write_text(json.dumps(details, indent=2) + "\n",
                                              encoding="utf-8")
            target = _folder("models") / key
            shutil.rmtree(target, ignore_errors=True)   # damaged, or it would have been found
            folder.chmod(0o755)
            folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        _forget_unused()
        return target / LIBRARY


def _forget_unused():
    horizon = time.time() - _UNUSED_DAYS * 24 * 3600
    for model in (root() / "models").iterdir():
        with contextlib.suppress(OSError):
            if model.stat().st_mtime < horizon:
                shutil.rmtree(model, ignore_errors=True)


def _size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def info():
    """Return ``{"path", "bytes", "models"}``; a model has ``key``, ``bytes``, ``used`` (seconds
    since the epoch) and what its builder noted (name, traced, versions, build_seconds).
    """
    folder = root() / "models"
    models = []
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        try:
            details = json.loads((path / "info.json").read_text(encoding="utf-8"))
            models.append({"key": path.name, "bytes": _size(path), "used": path.stat().st_mtime}
                          | details)
        except (OSError, ValueError):
            continue                            # being removed
    return {"path": str(root()), "bytes": _size(root()) if root().exists() else 0,
            "models": models}


def clear():
    """Remove every model that is not being built; return the number of bytes freed.

    Models in use stay usable: the system keeps the files of a loaded library.
    """
    base = root()
    if not base.exists():
        return 0
    before = _size(base)
    for name in ("models", "quick"):
        shutil.rmtree(base / name, ignore_errors=True)
    for work in (base / "work").glob("*"):
        with _locked(work.name.rpartition("-")[0], wait=False) as free:
            if free:
                shutil.rmtree(work, ignore_errors=True)
    # Lock files stay: one that is removed while another process waits for it would lock nothing.
    return before - _size(base)
