"""Bare-metal programs: ``python -m xpu elf`` and ``run_elf``."""

import json

import pytest

import xpu
from support import spike
from xpu.cli import main
from xpu.elf import Elf
from xpu.program import run_elf

pytestmark = pytest.mark.cosim

TOHOST = """
.data
.align 6
.globl tohost
tohost: .dword 0
.globl fromhost
fromhost: .dword 0
"""


def program(text, folder, **options):
    return spike.assemble(f".globl _start\n_start:\n{text}\nstay: j stay\n{TOHOST}", folder,
                          **options)


def writes(value):
    return f"  la x3, tohost\n  li x4, {value}\n  sw x4, 0(x3)"


@pytest.mark.parametrize("base", [0, 0x1000, 0x2000_0000, 0x8000_0000, 0xFF00_0000])
def test_anywhere(tmp_path, base):
    """Code, data and stack may lie at any address."""
    elf = program(f"  la sp, tohost + 0x4000\n  li x5, 77\n  sw x5, -4(sp)\n  lw x6, -4(sp)\n"
                  f"  bne x5, x6, stay\n{writes(1)}", tmp_path, base=base)
    result = run_elf(elf, max_cycles=2000)
    assert result.passed, result.reason
    assert 20 < result.cycles < 600


def test_code_far_from_data(tmp_path):
    """Two gigabytes apart."""
    elf = program(writes(1), tmp_path, base=0x0001_0000, data=0x9000_0000)
    assert Elf(elf).end - Elf(elf).begin > 1 << 31
    assert run_elf(elf, max_cycles=2000).passed


def test_failing_program(tmp_path):
    result = run_elf(program(writes(7), tmp_path), max_cycles=2000)
    assert (result.passed, result.value, result.reason) == (False, 7, "tohost 0x7: test 3 failed")


def test_endless_program(tmp_path):
    result = run_elf(program("", tmp_path), max_cycles=3000)
    assert not result.passed
    assert 3000 <= result.cycles < 3100
    assert result.reason == "it did not write tohost within 3,000 cycles"


def test_unhandled_trap(tmp_path):
    result = run_elf(program("  nop\n  .word 0x0000007f", tmp_path), max_cycles=3000)
    assert not result.passed
    assert "core 0 met ILLEGAL at 0x80000004" in result.reason


def test_program_that_ends_without_a_word(tmp_path):
    result = run_elf(program("  csrw 0x7C0, zero", tmp_path), max_cycles=3000)
    assert result.reason == "it ended without a word to tohost"


def test_self_modifying_code(tmp_path):
    """FENCE.I: instructions written are those executed."""
    elf = program(f"""
  la x5, patch
  li x6, 0x00500393      # addi x7, x0, 5
  li x8, 3
again:
  sw x6, 0(x5)
  fence.i
patch:
  addi x7, x0, 1
  addi x9, x9, 1
  li x10, 5
  bne x7, x10, stay
  addi x8, x8, -1
  bnez x8, again
{writes(1)}""", tmp_path)
    assert run_elf(elf, max_cycles=20_000).passed


def test_command_line(tmp_path, capsys):
    passing, failing = program(writes(1), tmp_path), program(writes(3), tmp_path, name="failing")
    log = tmp_path / "log"
    assert main(["elf", str(passing), "--max-cycles", "5000", "--commit-log", str(log)]) == 0
    assert capsys.readouterr().out.startswith("pass: tohost 1; ")
    assert log.read_text().splitlines()[0].startswith("core   0: 3 0x80000000 (0x")
    assert main(["elf", str(failing), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["value"] == 3
    assert report["passed"] is False


def test_what_is_no_program(tmp_path, capsys):
    text = tmp_path / "text"
    text.write_text("not an ELF file")
    with pytest.raises(xpu.ArgumentError, match="text is no ELF file"):
        run_elf(text)
    elf = tmp_path / "wrong"
    good = bytearray(program(writes(1), tmp_path).read_bytes())
    good[18] = 62           # x86-64
    elf.write_bytes(good)
    with pytest.raises(xpu.ArgumentError, match="must be a 32-bit little-endian RISC-V executable"):
        run_elf(elf)
    silent = spike.assemble(".globl _start\n_start: j _start\n", tmp_path, name="silent")
    with pytest.raises(xpu.ArgumentError, match="has no symbol tohost"):
        run_elf(silent)
    assert main(["elf", str(tmp_path / "missing")]) == 1
    assert "missing" in capsys.readouterr().err
