"""The place of the SIMD cluster."""
