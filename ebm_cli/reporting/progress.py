"""Progress of a run on the terminal: a live bar, or plain lines where output goes to a file."""

import time
from collections import deque

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from ebm_cli.evaluation.values import Values, format_value
from ebm_cli.reporting.console import duration
from ebm_cli.reporting.live_bar import LiveBar

REFRESH = 0.1
"""Seconds between two drawings of the bar."""
WINDOW = 10.0
"""Seconds over which the speed is averaged."""


class Progress(LiveBar):
    """The step of a run, its loss and monitored result, its speed and the time left.

    A live bar on a terminal, drawn at most ten times a second; elsewhere one plain line every `every` steps.

    Args:
        steps: the last step.
        start: the step that a resumed run starts from.
        every: steps between two plain lines; by default a twentieth of the run.
        console: where to write.

    Raises:
        ValueError: steps < 1, or every < 1.
    """

    def __init__(self, steps: int, start: int = 0, every: int | None = None, console: Console | None = None) -> None:
        if steps < 1:
            raise ValueError(f"steps must be >= 1, got {steps}")
        if every is not None and every < 1:
            raise ValueError(f"every must be >= 1, got {every}")
        self._console = console or Console()
        self._steps, self._every = steps, every or max(1, steps // 20)
        self._next_line = start + 1
        self._drawn_at = -1.0
        self._times: deque[tuple[float, int]] = deque([(time.monotonic(), start)])
        bar = Bar(
            TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[shown]}"),
            console=self._console,
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        super().__init__(self._console, bar)
        self._task = self._bar.add_task("", total=steps, completed=start, shown="")

    def update(self, step: int, metrics: Values) -> None:
        """Show that `step` is done, with a few numbers by their names."""
        now = time.monotonic()
        self._times.append((now, step))
        while len(self._times) > 2 and self._times[1][0] < now - WINDOW:
            self._times.popleft()
        if self._is_live:
            if now - self._drawn_at >= REFRESH or step >= self._steps:
                self._drawn_at = now
                self._bar.update(self._task, completed=step, shown=self._fitting(step, metrics), refresh=True)
        elif step >= self._next_line or step >= self._steps:
            self._next_line = (step // self._every + 1) * self._every
            line = f"step {step:>{len(str(self._steps))}}/{self._steps}  {'  '.join(self._parts(step, metrics))}"
            self._console.print(Text(line), soft_wrap=True)

    def message(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(Text(text), soft_wrap=not self._is_live)

    def _fitting(self, step: int, metrics: Values) -> str:
        """The first parts that fit beside the step and a bar of ten characters, each whole."""
        room = self._console.width - len(f"step {step:,}/{self._steps:,}") - 13
        shown = ""
        for part in self._parts(step, metrics):
            longer = f"{shown}  {part}" if shown else part
            if len(longer) > room:
                break
            shown = longer
        return shown

    def _parts(self, step: int, metrics: Values) -> list[str]:
        """Metrics, speed and time left, in the order of their importance."""
        (then, before), (now, _) = self._times[0], self._times[-1]
        speed = (step - before) / (now - then) if now > then else 0.0
        parts = [f"{name} {format_value(value)}" for name, value in metrics.items()]
        if speed > 0:
            parts += [f"{format_value(speed)} steps/s", f"{duration((self._steps - step) / speed)} left"]
        return parts
