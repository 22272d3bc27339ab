"""What commands leave in both memories."""

import numpy as np

from support import dma_nd
from support.dma_rig import GM_BASE
from xpu_rtl.address_map import Space, SystemAddress

__all__ = ["Memories", "same"]


def same(found, expected, where):
    """Assert equality and name the first difference."""
    wrong = np.flatnonzero(found != expected)
    assert not wrong.size, (f"{where}: {wrong.size} bytes wrong, first at {wrong[0]:#x}: "
                            f"{found[wrong[0]]:#x}, not {expected[wrong[0]]:#x}")


class Memories:
    """GM and SM as commands leave them.

    Attributes
    ----------
    data : dict
        Bytes by ``Space``.
    legal : dict
        By ``Space``, which values each byte has had, (size, 256); None unless asked for.
    """

    def __init__(self, gm_bytes, sm_bytes, *, legal=False):
        self.data = {Space.GM: gm_bytes.copy(), Space.SM: sm_bytes.copy()}
        self.legal = None
        if legal:
            self.legal = {space: np.zeros((len(data), 256), bool)
                          for space, data in self.data.items()}
            for space, data in self.data.items():
                self.legal[space][np.arange(len(data)), data] = True

    def _at(self, address):
        place = SystemAddress.decode(address)
        return place.space, place.offset - (GM_BASE if place.space is Space.GM else 0)

    def read(self, address, size):
        space, offset = self._at(address)
        assert 0 <= offset <= len(self.data[space]) - size
        return self.data[space][offset:offset + size].tobytes()

    def write(self, address, data):
        space, offset = self._at(address)
        assert 0 <= offset <= len(self.data[space]) - len(data)
        values = np.frombuffer(data, np.uint8)
        self.data[space][offset:offset + len(data)] = values
        if self.legal is not None:
            self.legal[space][np.arange(offset, offset + len(data)), values] = True

    def move(self, rows):
        """Carry out rows of the golden model."""
        dma_nd.move(rows, self.read, self.write)

    def check(self, gm_bytes, sm_bytes):
        """Both are as given, to the last byte."""
        same(gm_bytes, self.data[Space.GM], "global memory")
        same(sm_bytes, self.data[Space.SM], "scratchpad")

    def check_legal(self, gm_bytes, sm_bytes):
        """Every byte given has had that value at some time."""
        for space, found in ((Space.GM, gm_bytes), (Space.SM, sm_bytes)):
            wrong = np.flatnonzero(~self.legal[space][np.arange(len(found)), found])
            assert not wrong.size, (f"{space.name}: {wrong.size} bytes of no command, first at "
                                    f"{wrong[0]:#x}")
