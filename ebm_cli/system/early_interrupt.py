"""Ctrl-C while a command imports its modules: there is nothing to save yet, and the process ends at once.

A KeyboardInterrupt would not do. The import system swallows it in the callbacks of its locks, so that the command
continues, and modules that are half imported raise other errors in its place.
"""

import os
import signal
from types import FrameType

INTERRUPTED = b"ebm: interrupted\n"
"""The line that says so."""


def end_at_once() -> None:
    """Let Ctrl-C end this process with exit code 130 from now on; unless it is ignored, as in the background."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, as ever, after `end_at_once`."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, INTERRUPTED)
    os._exit(128 + number)
