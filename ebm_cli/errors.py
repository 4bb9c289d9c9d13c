"""Errors that the user can act on, and helpers that phrase them as one line.

An exception with an `exit_code` ends the command with it; `ebm_cli.cli.error_messages` prints its message as one line,
without a traceback.
"""

import difflib
import errno
from collections.abc import Iterable
from math import inf

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, an exhausted quota, and a file above the size limit."""
LONGEST_LINE = 200
"""Characters of another library's message that are shown."""


class UserError(Exception):
    """A mistake of the user. The message names the key, the value and what to do."""

    exit_code = 1


class NoRoom(Exception):
    """The disk is full."""

    exit_code = 1


class NotTrustworthy(Exception):
    """A command finished, and its outcome is not to be trusted; it is raised after everything is written and printed.

    The message says what is wrong and what to do: chains that never moved, samples that are not finite; with
    `strict=true` also a model that is worse than the Gaussian fitted to its data.

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
    """Return `; did you mean X?` if a known word is close to this one, else an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def first_line(error: BaseException) -> str:
    """First line of an exception's message that is not empty; the name of its type if the message is empty."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__).rstrip(":")[:LONGEST_LINE]


def describe(error: BaseException) -> str:
    """Type and first line of an exception that was not written for users: "RuntimeError: size mismatch"."""
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"
