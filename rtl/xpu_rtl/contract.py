"""The contract between hardware and software, and its hash. Plain Python.

Everything both sides must agree on: registers, command formats, enumerations, address map and
configuration. Texts for people are left out, so that a better sentence does not change the hash.
"""

import enum
import hashlib
import json

from . import address_map
from .command import formats
from .configs import get_config
from .csr import maps

__all__ = ["contract", "contract_hash"]


def _registers(block):
    return {
        register.name: {
            "offset": register.offset, "count": register.count, "stride": register.stride,
            "fields": {
                field.name: {"lsb": field.lsb, "width": field.width, "init": field.init,
                             "access": field.access.value}
                for field in register.fields
            },
        }
        for register in block.registers
    }


def _format(fmt):
    return {
        "opcodes": [int(opcode) for opcode in fmt.opcodes], "slots": fmt.slots,
        "fields": {
            field.name: {"lsb": fmt.lsb[field.name], "width": field.width, "signed": field.signed}
            for field in fmt.fields
        },
    }


def _enums(module):
    return {
        name: {member.name: int(member) for member in value}
        for name, value in vars(module).items()
        if isinstance(value, enum.EnumType) and issubclass(value, enum.IntEnum)
        and value is not enum.IntEnum
    }


def contract(config):
    """Return the contract of a configuration (or of its name) as a dictionary fit for JSON.

    Keys: ``id``, ``version``; ``config`` (the fields of the configuration); ``registers`` (by name:
    offset, count, stride, fields); ``formats`` (by name: opcodes, slots, fields; ``header`` is
    common to all); ``enums``; ``address_map``.
    """
    return {
        "id": maps.ID,
        "version": maps.VERSION,
        "config": get_config(config).as_dict(),
        "registers": _registers(maps.CLUSTER),
        "slot_bytes": formats.SLOT_BYTES,
        "formats": {fmt.name: _format(fmt) for fmt in (formats.HEADER, *formats.ALL_FORMATS)},
        "enums": _enums(formats),
        "address_map": {
            **{name.lower(): getattr(address_map, name) for name in
               ("OFFSET_WIDTH", "SPACE_LSB", "CLUSTER_LSB", "CARD_LSB")},
            "spaces": {space.name: int(space) for space in address_map.Space},
        },
    }


def contract_hash(config):
    """Return the first 64 bits (big endian) of the SHA-256 of the contract's canonical JSON.

    Canonical: keys sorted, no spaces, ASCII.
    """
    text = json.dumps(contract(config), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "big")
