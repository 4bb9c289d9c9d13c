"""What went wrong because of what was typed: one line for the person, no traceback.

An exception that carries an `exit_code` ends the command with it; `ebm_cli.app` prints its message as one line.
"""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room on the disk, in the user's share of it, in what one file may hold."""


class UserError(Exception):
    """A mistake in what the user typed. The message names the key, the value and what would be right."""

    exit_code = 1


class NoRoom(Exception):
    """The disk is full."""

    exit_code = 1


def full_disk(error: BaseException | None) -> OSError | None:
    """The full disk behind an error, which libraries hide behind errors of their own; None where it is another one."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None
