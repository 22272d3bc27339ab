"""The banked scratchpad (SM)."""
