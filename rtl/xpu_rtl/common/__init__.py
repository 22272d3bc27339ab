"""Cells and interfaces used by every block."""
