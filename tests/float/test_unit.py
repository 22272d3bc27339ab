"""``FloatUnit`` against Berkeley SoftFloat: every operation, format and rounding mode."""

import pytest

from support import softfloat

pytestmark = pytest.mark.cosim


@pytest.mark.parametrize("fmt", ["s", "h"])
@pytest.mark.parametrize("rounding", softfloat.MODES)
def test_against_softfloat(fmt, rounding):
    count, differences = softfloat.check(fmt, rounding, 1000, seed=rounding)
    assert count == 1000 * len(softfloat.OPERATIONS) // 2
    assert not differences, "\n".join([f"{len(differences)} of {count} differ",
                                       *differences[:40]])
