"""Command formats, rings, dispatch and semaphores."""
