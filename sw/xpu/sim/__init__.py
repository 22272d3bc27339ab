"""The RTL as a shared library: tool chain, model cache, and the loop around the model."""
