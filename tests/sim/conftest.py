from pathlib import Path

import pytest

from xpu.platforms.native import NativePlatform
from xpu.sim import model_build


@pytest.fixture(scope="session")
def copier_library():
    """The small stand-in for the cluster, built once."""
    text = (Path(__file__).parent / "copier.sv").read_text(encoding="utf-8")
    return model_build.build_model(text, name="copier", bus_bytes=16)


@pytest.fixture
def open_copier(copier_library):
    """Open platforms with the stand-in; they are closed after the test."""
    opened = []

    def make(**options):
        options = {"memory_bytes": 1 << 16, "library": copier_library} | options
        opened.append(NativePlatform("slice", **options))
        return opened[-1]

    yield make
    for platform in opened:
        platform.close()
