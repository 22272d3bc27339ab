"""The demonstration: handwritten digits, read by an INT8 network on the device."""

from .main import add_arguments, main

__all__ = ["add_arguments", "main"]
