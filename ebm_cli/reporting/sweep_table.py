"""A sweep on the terminal while its jobs run in other processes: a live table, or plain lines where there is none."""

from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ebm_cli.evaluation.values import format_value
from ebm_cli.reporting.console import duration
from ebm_cli.reporting.narrow import Fitting

STYLES = {
    "training": "cyan", "evaluating": "cyan", "starting": "cyan", "sampling": "cyan", "finished": "green",
    "interrupted": "yellow", "stopped early": "yellow",
    "waiting": "dim", "not to be trusted": "red", "diverged": "red", "failed": "red",
}  # fmt: skip
SETTLED = ("finished", "stopped early")
"""States of jobs that give way where the screen has too few lines."""
RUNNING = ("starting", "training", "evaluating", "sampling")
"""States of jobs that are shown before all others."""
LONGEST_REASON = 40
"""Characters of the reason of a failure in the live table; the table at the end of the sweep has it whole."""
HEAD, AROUND = 1, 5
"""Lines of the head of the table; of the screen that are no row of the table, that of the head among them."""


class JobRow(NamedTuple):
    """One job, as it is shown.

    Attributes:
        number: in the sweep.
        settings: what distinguishes it from the others.
        state: a key of `STYLES`.
        step, steps: reached and planned; None while they are unknown.
        result: key and value of its main result so far; None if there is none.
        left: seconds of training left; None where they are unknown.
        reason: why it ended, if not well.
    """

    number: int
    settings: str
    state: str = "waiting"
    step: int | None = None
    steps: int | None = None
    result: tuple[str, float] | None = None
    left: float | None = None
    reason: str = ""

    @property
    def result_text(self) -> str:
        """The beginning of the reason, else the main result with its name; empty if there is neither."""
        if self.reason:
            return self.reason if len(self.reason) <= LONGEST_REASON else f"{self.reason[: LONGEST_REASON - 1]}…"
        return "" if self.result is None else f"{self.result[0]} {format_value(self.result[1])}"


class SweepTable:
    """The jobs of a sweep: on a terminal a table that is drawn anew, elsewhere one line when a job begins or ends.

    Args:
        console: where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def update(self, rows: Sequence[JobRow], summary: str) -> None:
        """Draw the table, on a terminal.

        Args:
            rows: all jobs that are known, in their order.
            summary: a line below them.
        """
        if self._live is not None:
            shown = self._fitting(rows)
            hidden = len(rows) - len(shown)
            more = [Text(f"{hidden} more job{'s' * (hidden > 1)}", style="dim")] if hidden else []
            self._live.update(Group(Fitting(_table(shown)), *more, Text(summary)), refresh=True)

    def began(self, row: JobRow) -> None:
        """Say that a job begins, where there is no terminal."""
        if self._live is None:
            self._line(f"job {row.number} ({row.settings}) begins")

    def ended(self, row: JobRow, summary: str) -> None:
        """Say that a job has ended, where there is no terminal."""
        if self._live is None:
            what = row.reason or row.result_text
            self._line(f"job {row.number} ({row.settings}) {row.state}{f': {what}' if what else ''}; {summary}")

    def _fitting(self, rows: Sequence[JobRow]) -> list[JobRow]:
        """The rows for whose lines the screen has room, at least one; a narrow screen takes several lines a row."""
        room, order = max(1, self._console.height - AROUND), _by_need(rows)
        n = min(len(order), room)
        while True:
            shown = sorted(order[:n])
            lines = len(self._console.render_lines(Fitting(_table(shown)), pad=False))
            if lines <= room + HEAD or n <= 1:
                return shown
            n = max(1, min(n - 1, n * room // lines))

    def _line(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def __enter__(self) -> "SweepTable":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()


def _by_need(rows: Sequence[JobRow]) -> list[JobRow]:
    """Jobs in the order in which they get a place: those that run, failed ones with the newest first, two that finished
    last, those that come next, and earlier ones."""
    finished = [row for row in rows if row.state in SETTLED]
    waiting = [row for row in rows if row.state == "waiting"]
    running = [row for row in rows if row.state in RUNNING]
    failed = [row for row in rows if row.state not in (*SETTLED, *RUNNING, "waiting")]
    return [*running, *reversed(failed), *reversed(finished[-2:]), *waiting, *reversed(finished[:-2])]


def _table(rows: Sequence[JobRow]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("job", "settings", "state", "step", "result so far", "left"):
        table.add_column(name, justify="right" if name in ("job", "step", "left") else "left", no_wrap=True)
    for row in rows:
        step = "" if row.step is None else f"{row.step:,}" + ("" if row.steps is None else f"/{row.steps:,}")
        left = "" if row.left is None else duration(row.left)
        state = Text(row.state, style=STYLES.get(row.state, "magenta"))
        table.add_row(str(row.number), Text(row.settings), state, step, row.result_text, left)
    return table
