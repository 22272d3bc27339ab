"""Signs of life from long steps, on stderr."""

import sys
import threading
import time

__all__ = ["Progress"]


class Progress:
    """Reports a step that may take long: a line that updates itself on a terminal, and otherwise a
    plain line at the start, every ten seconds, and at the end.

    ``with Progress("building the simulator") as progress: ... progress.detail = "12 of 40 files"``

    Parameters
    ----------
    title : str
        What is going on.
    quiet_seconds : float
        Nothing is printed for steps that end within this time.
    stream : file
        Default: ``sys.stderr``.
    """

    INTERVAL = 10.0

    def __init__(self, title, *, quiet_seconds=1.0, stream=None):
        self.title, self.detail = title, ""
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet_seconds
        self._stop = threading.Event()
        self._shown = False

    def __enter__(self):
        self._begin = time.monotonic()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join()
        if self._shown:
            self._write("done" if kind is None else "stopped", end="\n")

    def _loop(self):
        terminal = self._stream.isatty()
        delay = self._quiet
        while not self._stop.wait(delay):
            self._write(self.detail, end="" if terminal else "\n")
            delay = 0.5 if terminal else self.INTERVAL

    def _write(self, text, end):
        self._shown = True
        terminal = self._stream.isatty()
        seconds = time.monotonic() - self._begin
        line = f"{self.title}: {text + ', ' if text else ''}{seconds:.0f} s"
        # Return to the start of the line, and clear what is left of the previous one.
        self._stream.write(f"\r{line}\x1b[K{end}" if terminal else line + "\n")
        self._stream.flush()
