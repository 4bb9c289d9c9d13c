"""A bar that is drawn while a `with` block runs, on a terminal only."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress as Bar


class LiveBar:
    """Base of what shows the progress of work.

    Args:
        console: where to draw.
        bar: rich's bar, on this console.
    """

    def __init__(self, console: Console, bar: Bar) -> None:
        self._is_live, self._bar = console.is_terminal, bar

    def __enter__(self) -> Self:
        if self._is_live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_live:
            self._bar.stop()
