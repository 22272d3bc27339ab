"""The contract and its hash."""

import dataclasses
import hashlib
import json

import pytest

from xpu_rtl import contract as module
from xpu_rtl.command.formats import GEMM, HEADER
from xpu_rtl.configs import CONFIGS
from xpu_rtl.contract import contract, contract_hash
from xpu_rtl.csr.maps import CLUSTER


def test_contents():
    content = contract("tiny")
    assert json.loads(json.dumps(content)) == content
    assert content["registers"]["ring_tail"]["offset"] == CLUSTER["ring_tail"].offset
    assert content["formats"]["header"]["fields"]["tag"]["lsb"] == HEADER.lsb["tag"]
    assert content["formats"]["gemm"]["slots"] == GEMM.slots
    assert content["enums"]["FaultCause"]["FETCH"] == 8
    assert content["address_map"]["space_lsb"] == 44
    assert content["config"]["lanes"] == 4


def test_the_hash_is_that_of_the_canonical_json():
    text = json.dumps(contract("slice"), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert f"{contract_hash('slice'):016x}" == digest[:16]


def test_the_hash_depends_on_every_configuration_field():
    base = CONFIGS["slice"]
    hashes = {contract_hash(config) for config in CONFIGS.values()}
    changes = {"name": "other", "lanes": 8, "acc_rows": 128, "epilogue_lanes": 4, "tile_blocks": 8,
               "sm_bytes": 1 << 18, "sm_banks": 16, "max_bursts": 32, "rings": 2, "dma_streams": 1,
               "engine_queue_slots": 8, "fetch_slots": 8, "semaphores": 64, "semaphore_width": 25}
    for field in dataclasses.fields(base):
        if field.name in changes:
            changed = dataclasses.replace(base, **{field.name: changes[field.name]})
            hashes.add(contract_hash(changed))
    assert len(hashes) == len(CONFIGS) + len(changes)


def test_texts_do_not_change_the_hash(monkeypatch):
    before = contract_hash("tiny")
    registers = tuple(dataclasses.replace(register, doc="other") for register in CLUSTER.registers)
    monkeypatch.setattr(module.maps, "CLUSTER", dataclasses.replace(CLUSTER, registers=registers))
    assert contract_hash("tiny") == before
    moved = (dataclasses.replace(registers[0], offset=0x7FC), *registers[1:])
    monkeypatch.setattr(module.maps, "CLUSTER", dataclasses.replace(CLUSTER, registers=moved))
    assert contract_hash("tiny") != before


def test_unknown_configuration():
    with pytest.raises(ValueError, match="config must be"):
        contract("huge")
