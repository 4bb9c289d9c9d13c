"""Measurements that the tests of this folder give to experiments."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ebm_cli.lecture import Measurement, Outcome
from ebm_cli.lecture.base import verdict_bound
from ebm_cli.reporting.figures.chart import points, style_axes
from ebm_cli.runs.record import Record
from ebm_cli.runs.signals import Interrupted

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def passed(outcome: Outcome) -> dict[str, bool]:
    """Statement → whether each of its verdicts passed."""
    names = dict.fromkeys(name for name, _ in outcome.verdicts)
    return {name: all(bool(v.passed) for other, v in outcome.verdicts if other == name) for name in names}


def _draw(figure: "Figure", outcome: Outcome) -> None:
    ax = figure.subplots()
    points(ax, 0, [float(row["number"] or 0) for row in outcome.rows], [0.0] * len(outcome.rows), "numbers")
    style_axes(ax, "numbers", "number", "nothing")


@dataclass(frozen=True)
class Number(Measurement):
    """A number at most `bound`."""

    claim: ClassVar[str] = "the number is small"
    number: float
    seed: int
    bound: float = 1.0

    def measure(self, runs: Sequence[Record]) -> Outcome:
        row = {"number": self.number, "seed": self.seed, "runs": len(runs), "none": None}
        return Outcome([row], [("small", verdict_bound("number", self.number, at_most=self.bound))])

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        _draw(figure, outcome)


@dataclass(frozen=True)
class Steps(Measurement):
    """The runs of an experiment have trained at least `n_steps` in all."""

    claim: ClassVar[str] = "the runs are trained"
    trains: ClassVar[bool] = True
    n_steps: int

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows = [{"number": run.step} for run in runs]
        total = sum(run.step or 0 for run in runs)
        return Outcome(rows, [("trained", verdict_bound("steps", total, at_least=self.n_steps))])

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        _draw(figure, outcome)


@dataclass(frozen=True)
class Patient(Measurement):
    """Interrupted in a folder without the file `patience`."""

    claim: ClassVar[str] = "it ends"

    def measure(self, runs: Sequence[Record]) -> Outcome:
        if not Path("patience").exists():
            raise Interrupted(signal.SIGINT)
        return Outcome([{"number": 1}], [("ends", verdict_bound("number", 1, at_most=1))])

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        _draw(figure, outcome)
