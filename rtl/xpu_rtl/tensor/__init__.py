"""The tensor unit."""
