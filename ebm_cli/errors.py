"""Errors that the user can act on, and helpers that phrase them as one line.

An exception with an `exit_code` ends the command with it; `ebm_cli.cli.error_messages` prints its message as one line,
without a traceback.
"""

import difflib
import errno
import re
from collections.abc import Iterable
from math import inf

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, an exhausted quota, and a file above the size limit."""
_NO_MEMORY = re.compile(r"allocate memory|out of memory|Storage size calculation overflowed", re.IGNORECASE)
INTERRUPTED = 130
"""Exit code of a command that was interrupted at the keyboard."""
LONGEST_LINE = 200
"""Characters of another library's message that are shown."""


class UserError(Exception):
    """A mistake of the user. The message names the key, the value and what to do."""

    exit_code = 1


class NoRoom(Exception):
    """The disk is full."""

    exit_code = 1


class ProcessLost(Exception):
    """One of the processes of a run does not answer any more. The message says which, and what to do."""

    exit_code = 1


class NotTrustworthy(Exception):
    """A command finished, and its outcome is not to be trusted; it is raised after everything is written and printed.

    The message says what is wrong and what to do: chains that never moved, samples that are not finite; with
    `strict=true` also a run whose overall word is poor or broken.

    Args:
        message: for the user.
        value: of the finished command, which a sweeper still gets.
    """

    exit_code = 4

    def __init__(self, message: str, value: float | None = None) -> None:
        super().__init__(message)
        self.value = value

    def __reduce__(self) -> tuple[type["NotTrustworthy"], tuple[str, float | None]]:
        # A launcher sends it to another process.
        return type(self), (str(self), self.value)


def full_disk(error: BaseException | None) -> OSError | None:
    """Find the full disk that caused an error, also behind a library's own exception; None for any other cause."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


def memory_asked_for(error: BaseException) -> str | None:
    """The memory that an error could not get, as a text ("4.0 TB"), "more memory" if it does not say; None for others.

    torch and numpy name a number of bytes in sentences of their own.
    """
    text = str(error)
    if not isinstance(error, MemoryError) and not _NO_MEMORY.search(text):
        return None
    found = re.search(r"allocate ([\d.]+) ?([KMGTPE]i?B|bytes)", text)
    if found is None:
        return "more memory"
    n, power = float(found[1]), 0
    while found[2] == "bytes" and n >= 1000:
        n, power = n / 1000, power + 1
    return f"{n:.3g} {found[2] if not power else 'kMGTPE'[power - 1] + 'B'}"


def require_positive(**values: float | None) -> None:
    """Require that numbers are > 0 and finite; None, an option that is off, passes.

    Raises:
        ValueError: the message begins with the name: "step_size must be > 0, got -1.0".
    """
    for name, value in values.items():
        if value is None:
            continue
        if not value > 0:
            raise ValueError(f"{name} must be > 0, got {value}")
        if value == inf:
            raise ValueError(f"{name} must be finite, got {value}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` if a known word is close to this one, in small letters too, else an empty one."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1) or difflib.get_close_matches(word.lower(), words, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def first_line(error: BaseException) -> str:
    """First line of an exception's message that is not empty; the name of its type if the message is empty."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__).rstrip(":")[:LONGEST_LINE]


def describe(error: BaseException) -> str:
    """Type and first line of an exception that was not written for users: "RuntimeError: size mismatch"."""
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"
