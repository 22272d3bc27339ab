import pytest

from xpu.commands import Command, decode
from xpu_rtl.command.formats import ALL_FORMATS, HEADER, SLOT_BYTES, Opcode


def test_fence_bytes():
    command = Command(Opcode.FENCE, sequence=0x01020304, interrupt=1, tag=7)
    data = command.encode()
    assert len(data) == SLOT_BYTES
    assert data[0] == Opcode.FENCE
    assert data[1] == 1 | 1 << 4                          # slots, interrupt
    assert data[20:24] == b"\x07\0\0\0"                   # tag
    assert data[24:28] == b"\x04\x03\x02\x01"             # sequence
    assert not any(data[28:])


@pytest.mark.parametrize("opcode", list(Opcode))
def test_round_trip_of_every_field_at_its_limits(opcode):
    fmt = next(fmt for fmt in ALL_FORMATS if opcode in fmt.opcodes)
    for part in (HEADER, fmt):
        for field in part.fields:
            if field.name in ("opcode", "slots"):
                continue
            low = -(1 << (field.width - 1)) if field.signed else 0
            high = (1 << (field.width - field.signed)) - 1
            for value in {low, 0, 1, high}:
                command = Command(opcode, **{field.name: value})
                data = command.encode()
                assert len(data) == fmt.slots * SLOT_BYTES
                assert decode(data)[field.name] == value
                assert decode(data) == command
            for value in (low - 1, high + 1):
                with pytest.raises(ValueError, match=rf"{field.name} must lie in .*not {value}"):
                    Command(opcode, **{field.name: value})


def test_wide_fields():
    command = Command(Opcode.DMA_LOAD, source=0x1234_5678_9ABC_DEF0, row_bytes=1, rows=1)
    assert command["source_low"] == 0x9ABC_DEF0
    assert command["source_high"] == 0x1234_5678
    assert decode(command.encode())["source"] == 0x1234_5678_9ABC_DEF0
    assert "source=0x123456789abcdef0" in repr(command)
    with pytest.raises(ValueError, match=r"source must lie in \[0, 2\*\*64\), not -1"):
        Command(Opcode.DMA_LOAD, source=-1)


def test_refusals():
    with pytest.raises(ValueError, match=r"opcode must be one of NOP=0x01.*not 153"):
        Command(0x99)
    with pytest.raises(ValueError, match="GEMM has no field 'sequence'; it has"):
        Command(Opcode.GEMM, sequence=1)
    with pytest.raises(TypeError, match=r"GEMM.rows must be an integer, not 1.5"):
        Command(Opcode.GEMM, rows=1.5)
    with pytest.raises(KeyError, match="GEMM has no field 'nothing'"):
        Command(Opcode.GEMM)["nothing"]
    with pytest.raises(ValueError, match="at least one byte"):
        decode(b"")
    with pytest.raises(ValueError, match="GEMM takes 128 bytes, not 64"):
        decode(Command(Opcode.GEMM).encode()[:64])
    with pytest.raises(ValueError, match="opcode must be one of"):
        decode(bytes(64))
