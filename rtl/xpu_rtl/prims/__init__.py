"""Primitives with a behavioural body and a platform hook."""
