"""The terminal while runs are trained together: one bar for all, and a line for each that has ended."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.text import Text

from ebm_cli.evaluation.result_registry import HEADLINES
from ebm_cli.evaluation.values import format_value
from ebm_cli.evaluation.values import number as number_of
from ebm_cli.reporting.console import make_console, relative_path
from ebm_cli.reporting.progress import Progress
from ebm_cli.runs.record import read


class ReplicaBoard:
    """Output of one group of replicas.

    Args:
        runs: directory and overrides of each.

    Attributes:
        quiet: a console for the runs themselves, which shows nothing.
    """

    def __init__(self, runs: Sequence[tuple[Path, Sequence[str]]]) -> None:
        self.quiet = Console(quiet=True, force_terminal=False)
        self._console = make_console()
        self._runs = [(path, _seed(words)) for path, words in runs]
        self._progress: Progress | None = None
        self._mean_loss: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._console.print(
            f"{len(self._runs)} seeds as one network, in {relative_path(self._parent)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.__exit__(kind, error, trace)

    def show(self, step: int, steps: int, n_runs: int, losses: Sequence[float]) -> None:
        """Show how far the runs are that have not ended, and the mean of these losses, or the last one of none."""
        if self._progress is None:
            self._progress = Progress(steps, step, console=self._console)
            self._progress.__enter__()
        if losses:
            self._mean_loss = {"mean loss": sum(losses) / len(losses)}
        self._progress.update(step, {"runs": n_runs, **self._mean_loss})

    def end(self, number: int) -> None:
        """Say how a run has ended."""
        path, seed = self._runs[number]
        record = read(path)
        parts = [f"{seed}: {record.state}" if record.state != "?" else f"{seed}: failed"]
        if record.reason:
            parts.append(record.reason)
        value = next(((k, v) for k in HEADLINES if (v := number_of(record.results, k)) is not None), None)
        if value is not None:
            parts.append(f"{value[0]} {format_value(value[1])}")
        if "eval/overall" in record.results:
            parts.append(str(record.results["eval/overall"]))
        line = Text("  ".join([*parts, relative_path(path)]))
        if self._progress is not None:
            self._progress.message(str(line))
        else:
            self._console.print(line, soft_wrap=True)

    @property
    def _parent(self) -> Path:
        return self._runs[0][0].parent


def _seed(words: Sequence[str]) -> str:
    return next((word.replace("=", " ") for word in words if word.startswith("seed=")), "run")
