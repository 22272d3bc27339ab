"""Which registers a bank accepts; its behaviour is tested behind AXI4-Lite."""

import pytest

from xpu_rtl.csr.bank import CsrBank
from xpu_rtl.csr.maps import CLUSTER


@pytest.mark.parametrize(("names", "index", "error"), [
    (("ring_base_low",), 8, IndexError), (("id",), 1, IndexError), (("nothing",), None, KeyError),
])
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_refused(names, index, error):
    with pytest.raises(error):
        CsrBank(CLUSTER, names, index=index)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_members_of_arrays():
    bank = CsrBank(CLUSTER, ("sm_stalls", "id"))
    assert len(bank.sm_stalls_value) == 8
    assert len(bank.id_value) == 32
    assert len(CsrBank(CLUSTER, ("sm_stalls",), index=3).sm_stalls_value) == 32
