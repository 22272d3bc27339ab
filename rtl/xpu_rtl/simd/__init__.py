"""The SIMD cluster: RISC-V cores, their caches and launches."""
