"""The model cache: built once, never seen half made."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from xpu.sim import cache


@pytest.fixture(autouse=True)
def cache_root(tmp_path, monkeypatch):
    root = tmp_path / "cache"
    monkeypatch.setenv("XPU_CACHE", str(root))
    return root


def make(folder):
    (folder / cache.LIBRARY).write_bytes(b"model")


def fail(folder):
    make(folder)
    raise KeyboardInterrupt


def test_where_it_is(monkeypatch, tmp_path):
    assert cache.root() == tmp_path / "cache"
    monkeypatch.delenv("XPU_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "xpu"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.root() == tmp_path / "home" / ".cache" / "xpu"


def test_a_model_is_built_once():
    assert cache.lookup("a") is None
    path = cache.store("a", make, {"name": "slice"})
    assert path.read_bytes() == b"model"
    assert cache.lookup("a") == path
    assert cache.store("a", fail, {}) == path
    [model] = cache.info()["models"]
    assert model["key"] == "a"
    assert model["name"] == "slice"
    assert model["bytes"] > 5
    assert model["build_seconds"] >= 0


def test_an_interruption_leaves_nothing(cache_root):
    with pytest.raises(KeyboardInterrupt):
        cache.store("a", fail, {})
    assert cache.lookup("a") is None
    assert list((cache_root / "work").iterdir()) == []
    assert cache.store("a", make, {}).exists()


def test_threads_wait_for_the_one_that_builds():
    built, results = [], []

    def slow(folder):
        built.append(folder)
        time.sleep(0.3)
        make(folder)

    threads = [threading.Thread(target=lambda: results.append(cache.store("a", slow, {})))
               for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(built) == 1
    assert len(set(results)) == 1
    assert len(results) == 3


SLOW_BUILD = """
import sys, time
from xpu.sim import cache
def build(folder):
    (folder / "part").write_text("half")
    print("building", flush=True)
    time.sleep(60)
cache.store("a", build, {})
"""


def test_a_killed_build_is_cleaned_up(cache_root):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", SLOW_BUILD], stdout=subprocess.PIPE,
                               text=True, env=environment)
    with process:
        assert process.stdout.readline() == "building\n"
        assert cache.clear() == 0             # what is being built stays
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert len(list((cache_root / "work").iterdir())) == 1
    assert cache.lookup("a") is None
    assert cache.store("a", make, {}).exists()
    assert list((cache_root / "work").iterdir()) == []


def test_a_damaged_model_is_built_again():
    path = cache.store("a", make, {})
    path.unlink()
    assert cache.lookup("a") is None
    assert cache.store("a", make, {}).exists()


def test_quick_keys():
    assert cache.quick_lookup("q") is None
    cache.remember("q", "a")
    assert cache.quick_lookup("q") is None
    path = cache.store("a", make, {})
    assert cache.quick_lookup("q") == path


def test_clear(cache_root):
    assert cache.clear() == 0
    for key in "ab":
        cache.store(key, make, {})
    cache.remember("q", "a")
    before = cache.info()["bytes"]
    assert cache.clear() == before
    assert cache.info() == {"path": str(cache_root), "bytes": 0, "models": []}
    assert cache.quick_lookup("q") is None
    assert cache.store("a", make, {}).exists()


def test_models_unused_for_long_are_forgotten():
    old = cache.store("a", make, {})
    os.utime(old.parent, (0, 0))
    cache.store("b", make, {})
    assert [model["key"] for model in cache.info()["models"]] == ["b"]


def test_info_survives_a_broken_entry():
    path = cache.store("a", make, {})
    (path.parent / "info.json").write_text("{")
    assert cache.info()["models"] == []
    assert json.dumps(cache.info())
