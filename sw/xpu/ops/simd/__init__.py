"""Operators that the SIMD cores execute: kernels in C (``xpu/kernels/ops``), streamed through the
scratchpad."""
