"""A shape, with addresses and everything else that commands need."""

from dataclasses import dataclass

from xpu_rtl.command.formats import Activation, ElementType

from .shape import ProductShape

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """A shape, and everything else its commands need. Addresses are GM byte offsets.

    Parameters
    ----------
    shape : ProductShape
        What is computed.
    a_type, b_type, out_type : ElementType
        Of operands and output.
    a_address, b_address, out_address : int
        First element.
    a_pitch, a_group : int
        Bytes from row to row of A (pixel to pixel of an image), and from group to group. Images
        follow each other densely.
    b_pitch, b_group : int
        Bytes from row to row of B as it lies in memory, and from group to group.
    out_pitch, out_group : int
        Elements from output pixel to output pixel, and from group to group; of C and residual.
    vector_group : int
        Elements from group to group of the vectors.
    a_zero_point, b_zero_point, out_zero_point : int
        Zero points; ``b_zero_point_address`` (one byte per column) overrides the second.
    bias_address, float_bias : int or None, bool
        INT32 or FP32 per column.
    scale, scale_address : float, int or None
        FP32 multiplier, or one per column.
    residual_address, residual_type, residual_zero_point, residual_scale : int or None, ...
        What is added to the scaled sums.
    activation, low, high : Activation, float, float
        As in the command.
    table_address : int or None
        256 bytes.
    max_address : int or None
        Where the running maximum goes, FP32.
    max_continues : bool
        It goes on from that of the problem bound and submitted before.
    """

    shape: ProductShape
    a_type: ElementType
    b_type: ElementType
    out_type: ElementType
    a_address: int
    b_address: int
    out_address: int
    a_pitch: int
    b_pitch: int
    out_pitch: int
    a_group: int = 0
    b_group: int = 0
    out_group: int = 0
    vector_group: int = 0
    a_zero_point: int = 0
    b_zero_point: int = 0
    b_zero_point_address: int | None = None
    out_zero_point: int = 0
    bias_address: int | None = None
    float_bias: bool = False
    scale: float = 1.0
    scale_address: int | None = None
    residual_address: int | None = None
    residual_type: ElementType = ElementType.INT32
    residual_zero_point: int = 0
    residual_scale: float = 1.0
    activation: Activation = Activation.NONE
    low: float = 0.0
    high: float = 0.0
    table_address: int | None = None
    max_address: int | None = None
    max_continues: bool = False
