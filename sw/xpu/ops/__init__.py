"""Operators."""

from .matmul import matmul

__all__ = ["matmul"]
