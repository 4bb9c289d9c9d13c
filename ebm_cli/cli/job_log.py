"""The log of a command, VERB.log in its directory: how it started and how it ended.

The events between are logged where they happen. A traceback is in the log only; the terminal shows one line.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ebm_cli.cli.error_messages import LOST_JOBS, explain
from ebm_cli.config.groups import search_path
from ebm_cli.errors import INTERRUPTED, NoRoom, NotTrustworthy, UserError
from ebm_cli.reporting.commands import shell_line
from ebm_cli.reporting.console import duration

logger = logging.getLogger(__name__)


@contextmanager
def logged(verb: str, words: Sequence[str]) -> Iterator[None]:
    """Log the start and the end of a command in the block, whatever its end is.

    Args:
        verb: name of the verb.
        words: overrides of the command or the job, as typed.
    """
    # A full disk must not add the traceback of the log to the one line that the user gets.
    logging.raiseExceptions = False
    began = time.monotonic()
    _log_start(verb, words)
    try:
        yield
    except BaseException as error:
        _log_end(error, verb, time.monotonic() - began)
        raise
    _log(logging.INFO, f"ended after {duration(time.monotonic() - began)}: exit code 0")


@contextmanager
def logged_if_refused(verb: str, words: Sequence[str]) -> Iterator[None]:
    """Log the start and the end of a job that is refused in the block, before it starts; nothing of another."""
    try:
        yield
    except Exception as error:
        _log_start(verb, words)
        _log_end(error, verb, 0.0)
        raise


def _log_end(error: BaseException, verb: str, seconds: float) -> None:
    """Log the error that ended a command: one line, and the traceback of an unexpected one.

    Args:
        error: any exception.
        verb: name of the verb.
        seconds: since the command started.
    """
    after = f"after {duration(seconds)}"
    code = getattr(error, "exit_code", 1)
    if isinstance(error, NoRoom):
        return  # the log needs room, too
    if isinstance(error, NotTrustworthy):
        _log(logging.WARNING, f"ended {after}: finished, not to be trusted: {error} (exit code {code})")
    elif isinstance(error, KeyboardInterrupt):
        code = getattr(error, "exit_code", INTERRUPTED)
        _log(logging.ERROR, f"ended {after}: {str(error) or 'interrupted'} (exit code {code})")
    elif isinstance(error, Exception):
        is_expected = isinstance(error, UserError) or hasattr(error, "exit_code") or type(error).__name__ in LOST_JOBS
        what = "nothing to do" if code == 0 else "failed"
        line = f"ended {after}: {what}: {explain(error, verb, search_path())} (exit code {code})"
        _log(logging.INFO if code == 0 else logging.ERROR, line, None if is_expected else error)
    elif isinstance(error.__context__, KeyboardInterrupt):
        # The handler of a launcher, which was called after the checkpoint, ended the process.
        _log(logging.INFO, f"ended {after}: {error.__context__}; the launcher's handler has taken over")
    else:
        _log(logging.ERROR, f"ended {after}: {type(error).__name__} {error}".rstrip())


def _log_start(verb: str, words: Sequence[str]) -> None:
    _log(logging.INFO, f"started: {shell_line('ebm', verb, *words)} (in {Path.cwd()})")


def _log(level: int, line: str, error: BaseException | None = None) -> None:
    # Without a handler, as of verbs that have no directory, Python would print to the terminal.
    if logger.hasHandlers():
        logger.log(level, line, exc_info=error)
