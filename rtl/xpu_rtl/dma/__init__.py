"""The DMA engine: GM to SM and back."""
