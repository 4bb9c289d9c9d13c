"""Stages of work that has no steps to count, such as an evaluation: which one is running, and for how long."""

import logging
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

logger = logging.getLogger(__name__)

REFRESHES = 2
"""Drawings of the bar a second: it is drawn by a thread beside the work."""


class Stages:
    """A transient bar with the name of the running stage on a terminal, nothing elsewhere; a line each in the log.

    Args:
        name: of the whole work.
        console: where to draw.
    """

    def __init__(self, name: str, console: Console) -> None:
        self._name, self._is_live = name, console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            refresh_per_second=REFRESHES,
        )
        self._task = self._bar.add_task(name, total=None)

    def begin(self, stage: str, number: int, total: int) -> None:
        """Show that a stage begins, the `number`th (from 1) of `total`."""
        logger.info(f"{self._name}: {stage} ({number} of {total})")
        self._bar.update(self._task, description=f"{self._name}: {stage}", completed=number - 1, total=total)

    def __enter__(self) -> "Stages":
        if self._is_live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_live:
            self._bar.stop()
