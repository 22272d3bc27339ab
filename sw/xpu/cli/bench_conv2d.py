"""``python -m xpu bench conv2d``."""

import argparse
import re
from typing import NamedTuple

import numpy as np

from ..opening import open_device
from ..ops import conv2d
from . import products
from .figures import report

__all__ = ["HELP", "Shape", "add_arguments", "expected", "measure", "measure_on", "run"]

HELP = "measure a convolution with seeded operands, and check its result"

_PATTERN = re.compile(r"(\d+)x(\d+)x(\d+)x(\d+):(\d+)x(\d+)x(\d+)(?::s(\d+))?(?::p(\d+))?"
                      r"(?::d(\d+))?(?::g(\d+))?")


class Shape(NamedTuple):
    """Images N x H x W x C, filters O x KH x KW, geometry."""

    n: int
    h: int
    w: int
    c: int
    o: int
    kh: int
    kw: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @classmethod
    def parse(cls, text):
        """Return the shape that a text names, or raise ``argparse.ArgumentTypeError``."""
        match = _PATTERN.fullmatch(text)
        if not match:
            raise argparse.ArgumentTypeError(
                f"must be NxHxWxC:OxKHxKW[:sSTRIDE][:pPADDING][:dDILATION][:gGROUPS], like "
                f"1x56x56x64:64x3x3:s1:p1, not {text!r}")
        defaults = (*[None] * 7, 1, 0, 1, 1)
        return cls(*(default if value is None else int(value)
                     for value, default in zip(match.groups(), defaults, strict=True)))


def _shape(text):
    Shape.parse(text)
    return text


def add_arguments(parser):
    parser.add_argument("shape", type=_shape, metavar="NxHxWxC:OxKHxKW:sS:pP",
                        help="images, output channels and kernel, stride, padding; also :d for "
                             "dilation and :g for groups")
    products.add_common_arguments(parser)


def expected(x, w, shape, scale, out_dtype, terms=1):
    """The result by NumPy alone: tap by tap.

    Sums of floating-point operands are those of direct convolution; the bench's operands are of so
    few bits that the order matters little, but it is the same.
    """
    pad, step, gap = shape.padding, shape.stride, shape.dilation
    zeros = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    image = np.pad(x, zeros)
    oh = (shape.h + 2 * pad - (shape.kh - 1) * gap - 1) // step + 1
    ow = (shape.w + 2 * pad - (shape.kw - 1) * gap - 1) // step + 1
    cg, og = shape.c // shape.groups, shape.o // shape.groups
    groups = []
    for g in range(shape.groups):
        patches = np.stack([
            image[:, i * gap:i * gap + (oh - 1) * step + 1:step,
                  j * gap:j * gap + (ow - 1) * step + 1:step, g * cg:(g + 1) * cg]
            for i in range(shape.kh) for j in range(shape.kw)], axis=3)
        filters = w[..., g * og:(g + 1) * og]
        # Whole words of terms for each tap, as the array takes them.
        missing = -cg % terms if x.dtype.itemsize == 2 else 0
        patches = np.pad(patches, [(0, 0)] * 4 + [(0, missing)])
        filters = np.pad(filters, ((0, 0), (0, 0), (0, missing), (0, 0)))
        groups.append(products.sums(patches.reshape(-1, shape.kh * shape.kw * (cg + missing)),
                                    filters.reshape(-1, og), terms))
    total = np.concatenate(groups, axis=-1)
    return products.results(total, out_dtype, scale).reshape(shape.n, oh, ow, shape.o)


def measure_on(dev, args, check=True):
    """Measure a shape on an open device; return the figures by name."""
    shape, rng = Shape.parse(args.shape), np.random.default_rng(args.seed)
    x = products.operand(rng, shape[:4], args.dtype)
    w = products.operand(rng, (shape.kh, shape.kw, shape.c // max(shape.groups, 1), shape.o),
                         args.dtype)
    scale = products.scale_vector(rng, args, shape.o, w[..., 0].size)
    on_device = dev.tensor(x), dev.tensor(w)
    vector = None if scale is None else dev.tensor(scale)
    with dev.profile() as p:
        result = conv2d(*on_device, stride=shape.stride, padding=shape.padding,
                        dilation=shape.dilation, groups=shape.groups, scale=vector,
                        out_dtype=args.out_dtype)
    exact = not check or np.array_equal(
        result.numpy(), expected(x, w, shape, scale, args.out_dtype, dev.config.wide_lanes))
    return products.figures(args, "conv2d", p, exact)


def measure(args):
    """Return the figures by name."""
    n, h, w, c, o, kh, kw, stride, *_ = Shape.parse(args.shape)
    needed = 2 * n * h * w * (c + 4 * o // max(stride, 1) ** 2) + 4 * kh * kw * c * o
    with open_device(args.config, args.platform, memory_latency=args.memory_latency,
                     memory_bytes=products.memory_bytes(needed)) as dev:
        return measure_on(dev, args)


def run(args):
    return report(args, measure)
