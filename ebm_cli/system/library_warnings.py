"""Warnings of libraries: kept in the log of a run, and off the screen.

A warning of numpy or torch names a line of their code and tells a user nothing to do; what a user has to know, our own
messages say. Python's -W and PYTHONWARNINGS bring them back to the screen.
"""

import logging
import os
import sys
import warnings
from typing import Any, TextIO

logger = logging.getLogger("warnings")

MOST = 100
"""Warnings that are kept until there is a log."""
_kept: list[logging.LogRecord] = []


def log_warnings() -> None:
    """Send warnings to the log from now on, unless the user asked for them. Before torch is imported: its own, too."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if "TORCH_LOGS" not in os.environ:
        # torch sets this level at the end of its import; an interrupt before that would print its statistics at exit.
        logging.getLogger("torch").setLevel(logging.WARNING)
    if not sys.warnoptions:
        warnings.showwarning = _show
        logging.lastResort = logging.NullHandler()


def flush_warnings() -> None:
    """Write what was kept to the log, which exists now, and move torch's loggers from the screen to it."""
    kept, _kept[:] = list(_kept), []
    for record in kept:
        _write(record)
    if "TORCH_LOGS" in os.environ or sys.warnoptions:
        return
    for name, found in list(logging.root.manager.loggerDict.items()):
        if isinstance(found, logging.Logger) and name.partition(".")[0] == "torch" and found.handlers:
            found.handlers = [handler for handler in found.handlers if isinstance(handler, logging.FileHandler)]
            found.propagate = True


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = f"{category.__name__}: {message} ({filename}:{lineno})"
    fields: dict[str, Any] = {"name": logger.name, "levelname": "WARNING", "levelno": logging.WARNING, "msg": text}
    _write(logging.makeLogRecord(fields))


def _write(record: logging.LogRecord) -> None:
    """Write to the files of the root logger; keep the record if it has none yet."""
    files = [handler for handler in logging.root.handlers if isinstance(handler, logging.FileHandler)]
    for handler in files:
        handler.handle(record)
    if not files and len(_kept) < MOST:
        _kept.append(record)
