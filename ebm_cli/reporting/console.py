"""What a run says on the terminal: a live bar, or plain lines where output goes to a file, and a closing panel."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from ebm_cli.reporting.format import format_value
from ebm_cli.reporting.jsonl import Value
from ebm_cli.reporting.results_table import results_table

REFRESH = 0.1  # seconds between two drawings of the bar
WINDOW = 10.0  # seconds over which the speed is averaged


class Progress:
    """Shows where a run is: step, loss, main metric, steps a second, time left.

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
        self._drawn = -1.0
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), start)])
        self._live = self._console.is_terminal
        self._bar = Bar(
            TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[shown]}"),
            console=self._console,
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("", total=steps, completed=start, shown="")

    def __enter__(self) -> "Progress":
        if self._live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._bar.stop()

    def update(self, step: int, metrics: Mapping[str, Value]) -> None:
        """Say that `step` is done; `metrics` are the few numbers to show, by name."""
        now = time.monotonic()
        self._seen.append((now, step))
        while len(self._seen) > 2 and self._seen[1][0] < now - WINDOW:
            self._seen.popleft()
        if self._live:
            if now - self._drawn >= REFRESH or step >= self._steps:
                self._drawn = now
                self._bar.update(self._task, completed=step, shown=self._describe(step, metrics), refresh=True)
        elif step >= self._next_line or step >= self._steps:
            self._next_line = (step // self._every + 1) * self._every
            line = f"step {step:>{len(str(self._steps))}}/{self._steps}  {self._describe(step, metrics)}"
            self._console.print(Text(line), soft_wrap=True)

    def message(self, text: str) -> None:
        """A line above the bar."""
        self._console.print(Text(text), soft_wrap=True)

    def _describe(self, step: int, metrics: Mapping[str, Value]) -> str:
        (then, before), (now, _) = self._seen[0], self._seen[-1]
        speed = (step - before) / (now - then) if now > then else 0.0
        parts = [f"{name} {format_value(value)}" for name, value in metrics.items()]
        if speed > 0:
            parts += [f"{format_value(speed)} steps/s", f"{duration((self._steps - step) / speed)} left"]
        return "  ".join(parts)


def as_typed(path: Path) -> str:
    """A path as a person in the current folder would type it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def duration(seconds: float) -> str:
    """45 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def closing_panel(
    title: str,
    values: Mapping[str, Value],
    places: Mapping[str, str],
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
    success: bool = True,
) -> Panel:
    """What a run ends with: results by group, where things are, what to type next.

    Args:
        title: what ended, and how.
        values: the results, keys of results.json.
        places: what → path.
        commands: lines to type next.
        notes: why a result is missing, or why the run stopped.
        success: the frame is green, otherwise red.
    """
    width = max((len(name) for name in places), default=0)
    # Paths and commands are to be copied: one that does not fit folds at the edge instead of losing its end.
    where = [Text.assemble((f"{name:<{width}}  ", "cyan"), path, overflow="fold") for name, path in places.items()]
    parts: list[RenderableType] = [results_table(values), *(Text(note, style="yellow") for note in notes), *where]
    if commands:
        parts += [Text(), *(Text.assemble(("  $ ", "dim"), (command, "bold"), overflow="fold") for command in commands)]
    return Panel(
        Group(*parts), title=title, title_align="left", border_style="green" if success else "red", expand=False
    )
