"""Floating-point arithmetic: binary32 and what converts to and from it."""
