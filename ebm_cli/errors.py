"""What went wrong because of what was typed: one line for the person, no traceback.

An exception that carries an `exit_code` ends the command with it; `ebm_cli.app` prints its message as one line.
"""


class UserError(Exception):
    """A mistake in what the user typed. The message names the key, the value and what would be right."""

    exit_code = 1
