"""What a core shows of itself."""

from amaranth import unsigned
from amaranth.lib import data

from ..params import XpuConfig
from ..vector.types import TAG_BITS, VectorShape

__all__ = ["Observed", "observe"]


class Observed(data.FlexibleLayout):
    """What a core does in a cycle, for logs and profiles, in words of 32 bits.

    First ``CoreEvents`` of the scalar pipeline. Behind its words are those of the vector unit,
    ``VectorObserved``: ``vector`` (flags, ``issues``: the arithmetic pipe takes a row),
    ``access_address``, ``access_data``, and for ``arithmetic`` and ``load`` each a word with tag
    (4:0) and row (from 8 on), the strobes and the data of the row.
    """

    FLAGS = ("retire", "to_x", "to_f", "late", "load", "store", "csr", "trap", "late_x_valid",
             "late_f_valid", "late_flags_valid", "vector_retired", "configure")
    WORDS = ("flags", "pc", "word", "value", "address", "data", "late_x", "late_f")
    VECTOR_FLAGS = (("arithmetic_valid", 1), ("load_valid", 1), ("done", 1), ("memory_done", 1),
                    ("access", 1), ("stored", 1), ("size", 2), ("done_tag", 5), ("raised", 5),
                    ("saturated", 1), ("memory_tag", 5), ("issues", 1))

    def __init__(self, config: XpuConfig):
        shape = VectorShape(config)
        strobes = -(-shape.bytes // 32)
        fields = {
            **{name: data.Field(1, n) for n, name in enumerate(self.FLAGS)},
            **{name: data.Field(unsigned(5), 16 + 5 * n) for n, name in enumerate(
                ("late_x_rd", "late_f_rd", "late_flags"))},
            **{name: data.Field(unsigned(32), 32 * n) for n, name in enumerate(self.WORDS) if n},
        }
        at = 32 * len(self.WORDS)
        bit = at
        for name, width in self.VECTOR_FLAGS:
            fields[f"vector_{name}"] = data.Field(unsigned(width), bit)
            bit += width
        for name in ("access_address", "access_data"):
            at += 32
            fields[name] = data.Field(unsigned(32), at)
        for name in ("arithmetic", "load"):
            at += 32
            fields[f"{name}_tag"] = data.Field(unsigned(TAG_BITS), at)
            fields[f"{name}_row"] = data.Field(unsigned(shape.row_bits), at + 8)
            at += 32
            fields[f"{name}_strobe"] = data.Field(unsigned(shape.bytes), at)
            at += 32 * (strobes - 1)
            at += 32
            fields[f"{name}_data"] = data.Field(unsigned(shape.width), at)
            at += shape.width - 32
        super().__init__(at + 32, fields)


def observe(m, pipe, shown):
    """Show in ``shown``, an ``Observed``, what the parts of ``pipe`` did in the cycle before."""
    seen, vector = pipe.seen, pipe.vector.observed
    retired = seen.retired
    m.d.sync += [
        *(shown[name].eq(seen[name]) for name in (
            "retire", "late_x_valid", "late_f_valid", "late_flags_valid", "late_flags")),
        *(shown[name].eq(retired[name]) for name in (
            "to_x", "to_f", "late", "load", "store", "csr", "trap", "pc", "word", "value",
            "address", "data", "configure")),
        shown.late_x_rd.eq(seen.late_x.rd), shown.late_f_rd.eq(seen.late_f.rd),
        shown.late_x.eq(seen.late_x.value), shown.late_f.eq(seen.late_f.value),
        shown.vector_retired.eq(retired.vector), shown.vector_issues.eq(pipe.vector.issues),
        *(shown[f"vector_{name}"].eq(vector[name]) for name in (
            "arithmetic_valid", "load_valid", "done", "memory_done", "access", "stored", "size",
            "memory_tag")),
        shown.vector_done_tag.eq(vector.completion.tag),
        shown.vector_raised.eq(vector.completion.flags),
        shown.vector_saturated.eq(vector.completion.saturated),
        shown.access_address.eq(vector.address), shown.access_data.eq(vector.data),
        *(shown[f"{side}_{name}"].eq(vector[side][name]) for side in ("arithmetic", "load")
          for name in ("tag", "row", "strobe", "data")),
    ]
