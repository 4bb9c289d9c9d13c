"""Stages of work that has no steps to count, such as an evaluation: which one is running, and for how long."""

import logging

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ebm_cli.reporting.live_bar import LiveBar

logger = logging.getLogger(__name__)

REFRESHES = 2
"""Drawings of the bar a second: it is drawn by a thread beside the work."""
WIDE, BESIDE_NAME = 100, 16
"""Width from which a bar has room; characters of the numbers beside the name of a stage."""


class Stages(LiveBar):
    """A transient bar with the name of the running stage on a terminal, nothing elsewhere; a line each in the log.

    Args:
        name: of the whole work.
        console: where to draw.
    """

    def __init__(self, name: str, console: Console) -> None:
        self._name, self._room = name, console.width - BESIDE_NAME
        numbers = [TextColumn("{task.fields[count]}"), TimeElapsedColumn()]
        columns = [TextColumn("{task.description}"), *([BarColumn()] if console.width >= WIDE else []), *numbers]
        bar = Progress(*columns, console=console, transient=True, refresh_per_second=REFRESHES)
        super().__init__(console, bar)
        self._task = self._bar.add_task(name[: self._room], total=None, count="")

    def begin(self, stage: str, number: int, total: int) -> None:
        """Show that a stage begins, the `number`th (from 1) of `total`."""
        log_stage(self._name, stage, number, total)
        shown = f"{self._name}: {stage}"
        # The name gives way on a narrow terminal: the numbers beside it stay whole.
        shown = (
            shown if len(shown) <= self._room else f"{stage[: self._room - 1]}…" if len(stage) > self._room else stage
        )
        count = f"{number - 1}/{total}"
        self._bar.update(self._task, description=shown, completed=number - 1, total=total, count=count)


def log_stage(name: str, stage: str, number: int, total: int) -> None:
    """Write into the log of the present run that a stage begins, the `number`th (from 1) of `total`."""
    logger.info(f"{name}: {stage} ({number} of {total})")
