"""Semaphores of operators that load, launch and store piece by piece."""

__all__ = ["LOADED", "RUN", "STORED", "Turns"]

LOADED, RUN, STORED = range(1, 4)       # count what is complete of each kind


class Turns:
    """Fields of commands that wait for and count others, from the semaphores' values now."""

    def __init__(self, semaphores):
        self._mask = semaphores.mask
        self._base = {number: semaphores.value(number) for number in (LOADED, RUN, STORED)}

    def after(self, place, semaphore, count):
        """Wait, in one of a command's two places, until ``count`` are complete."""
        return {} if count <= 0 else {
            f"wait{place}_semaphore": semaphore,
            f"wait{place}_value": self._base[semaphore] + count & self._mask}

    @staticmethod
    def done(semaphore):
        """Count one when the command is complete."""
        return {"signal0_semaphore": semaphore, "signal0_add": 1}
