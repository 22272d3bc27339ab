"""The XPU compute cluster as Amaranth RTL."""

from .configs import CONFIGS, get_config
from .params import XpuConfig

__all__ = ["CONFIGS", "XpuConfig", "__version__", "get_config"]

__version__ = "0.1.0"
