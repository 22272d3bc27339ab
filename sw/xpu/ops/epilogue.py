"""What follows the sums of a product, as arguments of operators: one place for all of them."""

import numbers
from dataclasses import dataclass, field

import numpy as np

from xpu_rtl.command.formats import Activation, ElementType

from ..errors import ArgumentError, DTypeError, ShapeError
from ..tensor import DTYPES, Tensor, check_dtype
from .arguments import (
    check_tensor,
    positive,
    same_device,
    scales,
    vector,
    zero_point,
    zero_points,
)

__all__ = ["ARGUMENTS", "ELEMENT_TYPES", "Epilogue", "check_operands"]

ELEMENT_TYPES = {"int32": ElementType.INT32, "int8": ElementType.INT8, "uint8": ElementType.UINT8,
                 "int16": ElementType.INT16, "int64": ElementType.INT64,
                 "float32": ElementType.FP32, "float16": ElementType.FP16,
                 "bfloat16": ElementType.BF16}
_SCALED = ("int8", "uint8", "int16", "float32", "float16", "bfloat16")
_RESIDUALS = ("int8", "uint8", "int16", "float16", "bfloat16", "float32")
_BYTES = ("int8", "uint8")

#: For docstrings of operators: the arguments ``Epilogue`` takes.
ARGUMENTS = """
    bias : None, Tensor or array
        [N]: int32, added to integer sums, or float32, added after scaling.
    scale : None, float, Tensor or array
        float32, one value or [N], finite and positive: what sums are multiplied by. For quantised
        types a_scale * b_scale / y_scale, computed from left to right in float32.
    zero_point : int
        Of the result's type, added last; 0 if that is not an integer of 8 or 16 bits.
    activation : None, "relu", ("leaky_relu", slope) or ("clip", low, high)
        Applied before rounding, in units of the result. Sums that are not scaled know "relu" only.
    out_dtype : dtype
        Of the result. By default, integer operands give exact sums (int32; int64 of int16) without
        ``scale``, and their own type (int8 for 8-bit) with it; floating-point operands their own
        type. Any of int8, uint8, int16, float16, bfloat16, float32 may be asked for; an integer
        needs ``scale``.
    residual : None or Tensor
        Of the result's shape: (residual - residual_zero_point) * residual_scale is added after
        scale and bias, before the activation.
    residual_scale, residual_zero_point : float, int
        See there.
    table : None, array or Tensor
        256 entries of 8 bits: entry i replaces the 8-bit result whose byte is i
        (``activation_table`` makes them).
    return_max : bool
        Return (result, maximum): a float32 tensor of shape (1,) with the largest magnitude before
        conversion to the result's type.
""".strip()


def check_operands(op, a, b):
    """Check two operands, ``(name, tensor)`` each: same device, types that go together."""
    (a_name, a), (b_name, b) = a, b
    for name, operand in ((a_name, a), (b_name, b)):
        check_tensor(f"{op}: {name}", operand)
    same_device(f"{op}: {a_name}", a.device, **{b_name: b})
    config = a.device.config
    allowed = list(config.types)
    if config.has_int8:
        allowed.insert(1, "uint8")
    check_dtype(a.dtype, f"{op}: {a_name}", tuple(allowed))
    matching = _BYTES if a.dtype.name in _BYTES else (a.dtype.name,)
    check_dtype(b.dtype, f"{op}: {b_name}", matching)


@dataclass
class Epilogue:
    """Arguments checked, and brought to the device where they are arrays.

    Parameters
    ----------
    op : str
        Operator, for messages.
    device : Device
        Where.
    a, b : Tensor
        Operands.
    columns : int
        Output channels.
    names : (str, str)
        Of the operands' zero point arguments and of the first operand, for messages.
    **arguments
        See ``ARGUMENTS``; and ``a_zero_point``, ``b_zero_point``.

    Attributes
    ----------
    out_dtype : numpy.dtype
        Of the result.
    fields : dict
        Of ``tiling.Problem``.
    shape_fields : dict
        Of ``tiling.ProductShape``.
    reads : list of Tensor
        What the commands will read besides the operands.
    """

    op: str
    device: object
    a: Tensor
    b: Tensor
    columns: int
    first: str = "a"
    zero_names: tuple = ("a_zero_point", "b_zero_point")
    bias: object = None
    scale: object = None
    zero_point: object = 0
    activation: object = None
    out_dtype: object = None
    residual: object = None
    residual_scale: object = 1.0
    residual_zero_point: object = 0
    table: object = None
    return_max: bool = False
    a_zero_point: object = 0
    b_zero_point: object = 0
    fields: dict = field(default_factory=dict, init=False)
    shape_fields: dict = field(default_factory=dict, init=False)
    reads: list = field(default_factory=list, init=False)

    def __post_init__(self):
        same_device(f"{self.op}: {self.first}", self.device, bias=self.bias, scale=self.scale,
                    residual=self.residual, table=self.table,
                    **{self.zero_names[1]: self.b_zero_point})
        kind = self.a.dtype
        self._floating = kind.name in ("float16", "bfloat16")
        self._sums = {"int16": "int64"}.get(kind.name, None if self._floating else "int32")
        scale, scale_vector = scales(f"{self.op}: scale", self.device, self.scale, self.columns)
        scaled = scale is not None or scale_vector is not None
        self._type(scaled)
        self._bias()
        self._zero_point()
        self._activation()
        self._zero_points()
        self._table()
        self._residual_arguments()
        self.fields |= {"out_type": ELEMENT_TYPES[self.out_dtype.name]}
        self.shape_fields |= {"out_bytes": self.out_dtype.itemsize, "has_max": self.return_max}
        if scale is not None:
            self.fields["scale"] = scale
        if scale_vector is not None:
            self._vector("scale", scale_vector)
            self.shape_fields["scale_vector"] = True

    @property
    def raw(self):
        """The sums themselves are the result."""
        return self.out_dtype.name == self._sums

    def _vector(self, name, tensor):
        self.fields[f"{name}_address"] = tensor.address
        self.reads.append(tensor)

    def _type(self, scaled):
        op, default = self.op, self.a.dtype.name
        if not self._floating:
            default = self._sums if not scaled else {"uint8": "int8"}.get(default, default)
        allowed = _SCALED if self._floating else (self._sums, *_SCALED)
        self.out_dtype = check_dtype(default if self.out_dtype is None else self.out_dtype,
                                     f"{op}: out_dtype", allowed)
        name = self.out_dtype.name
        if scaled and self.raw:
            raise ArgumentError(f"{op}: scale must be None for out_dtype {name}, which is not "
                                f"scaled; ask for {' or '.join(_SCALED)}")
        if not scaled and not self.raw and self.out_dtype.kind in "iu":
            raise ArgumentError(f"{op}: scale must be given for out_dtype {name}, not None")
        if self.return_max and self.raw:
            raise ArgumentError(f"{op}: return_max must be False for out_dtype {name}, the sums")

    def _bias(self):
        allowed = (("float32",) if self._floating else ("int32",) if self.raw
                   else ("int32", "float32"))
        bias = self.bias
        if self._floating and isinstance(bias, np.ndarray) and bias.dtype == self.a.dtype:
            bias = bias.astype(np.float32)      # exact
        bias = vector(f"{self.op}: bias", self.device, bias, self.columns, allowed)
        if bias is not None:
            self._vector("bias", bias)
            self.fields["float_bias"] = bias.dtype == np.float32
            self.shape_fields["has_bias"] = True

    def _zero_point(self):
        if self.raw or self.out_dtype.kind not in "iu":
            value = zero_point(f"{self.op}: zero_point", self.zero_point, np.dtype(np.int64))
            if value:
                raise ArgumentError(f"{self.op}: zero_point must be 0 for out_dtype "
                                    f"{self.out_dtype.name}, not {value}")
        else:
            self.fields["out_zero_point"] = zero_point(
                f"{self.op}: zero_point", self.zero_point, self.out_dtype)

    def _activation(self):
        given, name, numbers_ = self.activation, self.activation, ()
        if isinstance(given, tuple | list) and given:
            name, *numbers_ = given
        known = {"relu": (Activation.RELU, 0), "leaky_relu": (Activation.LEAKY, 1),
                 "clip": (Activation.CLIP, 2)}
        if given is None:
            return
        activation, count = known.get(name if isinstance(name, str) else None, (None, 0))
        ok = (activation is not None and len(numbers_) == count
              and all(isinstance(n, numbers.Real) and not np.isnan(n) for n in numbers_))
        if not ok:
            raise ArgumentError(f"{self.op}: activation must be None or 'relu', ('leaky_relu', "
                                f"slope) or ('clip', low, high), not {given!r}")
        if self.raw and count:
            raise ArgumentError(f"{self.op}: activation must be None or 'relu' for out_dtype "
                                f"{self.out_dtype.name}, the sums, not {given!r}")
        self.fields["activation"] = activation
        self.fields |= dict(zip(("low", "high"), map(float, numbers_), strict=False))

    def _zero_points(self):
        a_name, b_name = (f"{self.op}: {name}" for name in self.zero_names)
        if self.a.dtype.name not in _BYTES:
            for name, value in ((a_name, self.a_zero_point), (b_name, self.b_zero_point)):
                if isinstance(value, np.ndarray | Tensor) or value != 0:
                    raise ArgumentError(f"{name} must be 0 for {self.a.dtype.name}, not {value!r}")
            return
        self.fields["a_zero_point"] = zero_point(a_name, self.a_zero_point, self.a.dtype)
        self.fields["b_zero_point"], tensor = zero_points(
            b_name, self.device, self.b_zero_point, self.b.dtype, self.columns)
        if tensor is not None:
            self._vector("b_zero_point", tensor)
            self.shape_fields["b_zero_point_vector"] = True

    def _table(self):
        if self.table is None:
            return
        op, table = self.op, self.table
        if self.out_dtype.name not in _BYTES:
            raise ArgumentError(f"{op}: table must be None for out_dtype {self.out_dtype.name}; "
                                f"it takes int8 or uint8")
        if not isinstance(table, np.ndarray | Tensor):
            raise ArgumentError(f"{op}: table must be None, a tensor or a NumPy array, not "
                                f"{type(table).__name__}")
        check_dtype(table.dtype, f"{op}: table", (self.out_dtype.name,))
        if table.shape != (256,):
            raise ShapeError(f"{op}: table must be of shape (256,), not {table.shape}")
        self._vector("table", table if isinstance(table, Tensor) else self.device.tensor(table))
        self.shape_fields["has_table"] = True

    def _residual_arguments(self):
        op, residual = self.op, self.residual
        if residual is None:
            return
        if self.raw:
            raise ArgumentError(f"{op}: residual must be None for out_dtype {self.out_dtype.name}, "
                                f"the sums")
        check_tensor(f"{op}: residual", residual)
        check_dtype(residual.dtype, f"{op}: residual", _RESIDUALS)
        self._vector("residual", residual)
        self.fields |= {
            "residual_type": ELEMENT_TYPES[residual.dtype.name],
            "residual_zero_point": zero_point(f"{op}: residual_zero_point",
                                              self.residual_zero_point, residual.dtype),
            "residual_scale": positive(f"{op}: residual_scale", self.residual_scale)}
        self.shape_fields["residual_bytes"] = residual.dtype.itemsize

    def check_residual(self, shape):
        """Raise ``ShapeError`` unless the residual has the shape of the result."""
        if self.residual is not None and self.residual.shape != tuple(shape):
            raise ShapeError(f"{self.op}: residual must have the shape of the result, "
                             f"{tuple(shape)}, not {self.residual.shape}")

    def outputs(self, shape):
        """Make the result, and the maximum if asked for; return ``(out, maximum or None)``."""
        self.check_residual(shape)
        out = self.device.empty(shape, self.out_dtype)
        maximum = self.device.empty((1,), DTYPES["float32"]) if self.return_max else None
        if maximum is not None:
            self.fields["max_address"] = maximum.address
        return out, maximum

    def require(self, condition, message):
        """Raise ``DTypeError`` with the operator's name unless the condition holds."""
        if not condition:
            raise DTypeError(f"{self.op}: {message}")
