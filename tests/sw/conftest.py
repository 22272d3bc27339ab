import pytest

import xpu


@pytest.fixture
def dev():
    """A device of the functional model, small enough to fill."""
    with xpu.open("tiny", platform="model", memory_bytes=8 << 20) as device:
        yield device
