"""Building models: keys, errors, waves."""

import io
import time
from pathlib import Path

import pytest

from xpu.platforms.native import NativePlatform
from xpu.sim import cache, model_build, verilate
from xpu.sim.progress import Progress
from xpu_rtl.build.verilog import Design

COPIER = Path(__file__).parent / "copier.sv"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XPU_CACHE", str(tmp_path / "cache"))


@pytest.mark.cosim
def test_what_verilator_says_is_in_the_error(own_cache):
    with pytest.raises(verilate.BuildError, match="no_such_thing"):
        model_build.build_model("module xpu; assign a = no_such_thing; endmodule", name="x",
                                bus_bytes=16)
    assert cache.info()["models"] == []


def test_the_key_covers_everything(own_cache, monkeypatch):
    keys = []
    monkeypatch.setattr(cache, "store", lambda key, build, details: keys.append(key))

    def key(text="module xpu; endmodule", **options):
        model_build.build_model(text, name="x", **{"bus_bytes": 16} | options)
        return keys[-1]

    first = key()
    assert key() == first
    key("module xpu;  endmodule")
    key(bus_bytes=8)
    key(traced=True)
    monkeypatch.setattr(verilate, "FAST_FLAGS", ("-O0",))
    key()
    monkeypatch.setattr(model_build, "VERILATOR_FLAGS", ("-O2",))
    key()
    assert len(set(keys)) == len(keys) - 1


def test_a_known_model_needs_no_verilog(own_cache, monkeypatch):
    emitted = []

    def design(config, *, gated):
        assert gated
        emitted.append(config.name)
        return Design("", {"xpu": f"module xpu; /* {config.name} */ endmodule"}, {})

    monkeypatch.setattr(model_build.rtl, "design", design)
    monkeypatch.setattr(model_build.rtl, "source_digest", lambda config: config.name)
    store = cache.store
    monkeypatch.setattr(cache, "store", lambda key, build, details: store(
        key, lambda folder: (folder / cache.LIBRARY).touch(), details))
    paths = set()
    for _ in range(2):
        for name in ("tiny", "slice"):
            model_build._resolve.cache_clear()
            paths.add(model_build.model_for(name))
    assert emitted == ["tiny", "slice"]
    assert len(paths) == 2
    cache.clear()
    assert model_build.model_for("tiny") in paths      # and it is built again
    assert emitted == ["tiny", "slice", "tiny"]


@pytest.mark.cosim
@pytest.mark.slow
def test_waves(tmp_path):
    library = model_build.build_model(COPIER.read_text(encoding="utf-8"), name="copier",
                                      bus_bytes=16, traced=True)
    with NativePlatform("slice", memory_bytes=1 << 16, library=library) as platform:
        platform.run(100)
        for name in ("first", "second"):
            platform.start_waves(tmp_path / "waves" / f"{name}.fst")
            platform.run(200)
            platform.stop_waves()
            platform.run(100)
        platform.start_waves(tmp_path / "waves" / "third.fst")
        platform.run(200)
    sizes = [path.stat().st_size for path in (tmp_path / "waves").iterdir()]
    assert len(sizes) == 3
    assert min(sizes) > 500


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_lines(monkeypatch):
    monkeypatch.setattr(Progress, "INTERVAL", 0.05)
    stream = io.StringIO()
    with Progress("making it", quiet_seconds=0.02, stream=stream) as progress:
        progress.detail = "half"
        time.sleep(0.2)
    lines = stream.getvalue().splitlines()
    assert len(lines) >= 3
    assert lines[0] == "making it: half, 0 s"
    assert lines[-1] == "making it: done, 0 s"


def test_progress_on_a_terminal_is_one_line():
    stream = _Terminal()
    with Progress("making it", quiet_seconds=0.01, stream=stream):
        time.sleep(0.1)
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("done, 0 s\x1b[K\n")


def test_short_steps_say_nothing():
    stream = io.StringIO()
    with Progress("making it", stream=stream):
        pass
    assert stream.getvalue() == ""
