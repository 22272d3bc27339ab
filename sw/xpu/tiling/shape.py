"""What is computed: a set of products, each of output pixels times columns."""

import enum
from dataclasses import dataclass

__all__ = ["Chunk", "ProductShape", "Rect", "Source", "round_up"]


def round_up(value, multiple):
    """Smallest multiple of ``multiple`` that is at least ``value``."""
    return -(-value // multiple) * multiple


@enum.unique
class Source(enum.Enum):
    """Where the rows of A come from, and how they lie in the scratchpad."""

    ROWS = enum.auto()          #: a matrix, row by row: a job's tiles follow the rows as they land
    TRANSPOSED = enum.auto()    #: a matrix with a row per term, transposed by the DMA
    PATCHES = enum.auto()       #: an image; the DMA writes the patch of each output pixel (im2col)
    IMAGE = enum.auto()         #: an image; CONV commands walk through it


@dataclass(frozen=True)
class Rect:
    """Output pixels of one image."""

    image: int
    row0: int
    rows: int
    column0: int
    columns: int

    @property
    def pixels(self):
        return self.rows * self.columns


@dataclass(frozen=True)
class Chunk:
    """Terms of a job: some channels of some rows of the kernel."""

    tap_row0: int
    tap_rows: int
    channel0: int
    channels: int


@dataclass(frozen=True)
class ProductShape:
    """Everything a plan depends on. A matrix product has ``height`` = M and one-by-one kernels.

    Parameters
    ----------
    source : Source
        Of A.
    height, width : int
        Output pixels of an image.
    channels : int
        Terms per tap.
    columns : int
        Output channels.
    element : int
        Bytes of an operand's element.
    out_bytes : int
        Of an output element.
    floating : bool
        Operands are FP16 or BF16.
    groups, images : int
        Independent products with operands of their own; images that share B.
    in_height, in_width : int
        Of an image, for PATCHES and IMAGE.
    kernel, stride, dilation : (int, int)
        Of rows and columns.
    padding : (int, int)
        Rows above, columns to the left.
    transposed_b : bool
        B has a row per column.
    has_bias, scale_vector, b_zero_point_vector : bool
        Vectors that are read from memory.
    residual_bytes : int
        Of an element of the residual, 0 without.
    has_table, has_max : bool
        As in the command.
    """

    source: Source
    height: int
    width: int
    channels: int
    columns: int
    element: int
    out_bytes: int
    floating: bool = False
    groups: int = 1
    images: int = 1
    in_height: int = 1
    in_width: int = 1
    kernel: tuple = (1, 1)
    stride: tuple = (1, 1)
    dilation: tuple = (1, 1)
    padding: tuple = (0, 0)
    transposed_b: bool = False
    has_bias: bool = False
    scale_vector: bool = False
    b_zero_point_vector: bool = False
    residual_bytes: int = 0
    has_table: bool = False
    has_max: bool = False

    @property
    def depth(self):
        """Terms of an output."""
        return self.kernel[0] * self.kernel[1] * self.channels

    @property
    def macs(self):
        """Multiply-accumulates, those with padding included."""
        return (self.groups * self.images * self.height * self.width * self.depth * self.columns)

    @property
    def direct(self):
        """Whether CONV commands compute it."""
        return self.source is Source.IMAGE

    @property
    def progressive(self):
        """Whether tiles start as the rows of A land."""
        return self.source is Source.ROWS or (
            self.source is Source.PATCHES and self.patch_rows == 1)

    @property
    def patch_rows(self):
        """DMA rows of a patch: one for each row of the kernel, or for each tap."""
        return self.kernel[0] * (1 if self.patch_in_rows else self.kernel[1])

    @property
    def patch_in_rows(self):
        """Whether the taps of a row of the kernel are neighbours in memory."""
        return self.dilation[1] == 1 or self.kernel[1] == 1

    def input_span(self, rect, chunk):
        """Return ``(row0, rows, column0, columns)`` of the input pixels that exist and are needed.

        At least one row and one column, so that there is something to read from.
        """
        spans = []
        for axis, first, count, tap0, taps, size in (
                (0, rect.row0, rect.rows, chunk.tap_row0, chunk.tap_rows, self.in_height),
                (1, rect.column0, rect.columns, 0, self.kernel[1], self.in_width)):
            begin = (first * self.stride[axis] - self.padding[axis]
                     + tap0 * self.dilation[axis])
            end = begin + (count - 1) * self.stride[axis] + (taps - 1) * self.dilation[axis] + 1
            begin = min(max(begin, 0), size - 1)
            spans += [begin, max(min(end, size) - begin, 1)]
        return tuple(spans)

    def terms(self, chunk):
        """Terms of a GEMM or, for a CONV, of one of its taps."""
        if self.source is Source.PATCHES:
            return self.depth
        return chunk.channels
