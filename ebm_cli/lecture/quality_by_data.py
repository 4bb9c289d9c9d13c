"""KL of several methods, or of several noises, on several data sets, beside the cost and the classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar, final

from ebm_cli.evaluation.values import number
from ebm_cli.lecture.base import Measurement, Outcome
from ebm_cli.lecture.run_numbers import by_setting, curve, mean_result
from ebm_cli.reporting.figures.chart import label_plainly, points, style_axes
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA, SERIES, FOUND = "data set", "series", "KL(data‖model), nats"
TICKS = [digit * 10.0**power for power in range(-6, 3) for digit in (1, 3)]
"""Labelled values of KL, nats."""
LAST = 10
"""Lines of the log that the accuracy is a mean over: it is noted for one batch."""


@final
@dataclass(frozen=True)
class QualityByData(Measurement):
    """A table and a figure of KL; the statements are claims of the experiment.

    Args:
        series: group or key whose values are compared, such as method.
        names: its values → their names in the figure, in their order; others keep their own.
        title: of the figure: what it shows.
    """

    claim: ClassVar[str] = "methods and noises that differ in cost learn the same densities"
    trains: ClassVar[bool] = True

    series: str
    names: dict[str, str]
    title: str

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows = []
        for (data, value), alike in by_setting(runs, "dataset", self.series).items():
            row: dict[str, float | int | str | None] = {DATA: str(data).replace("_", " ")}
            row |= {SERIES: self.names.get(str(value), str(value)), FOUND: mean_result(alike, "eval/kl")}
            row |= {"KL of its flow": next((v for v in map(_flow_kl, alike) if v is not None), None)}
            row |= {"accuracy": _accuracy(alike), "seconds": mean_result(alike, "cost/seconds")}
            row |= {"∇f per row": mean_result(alike, "cost/grad_evals")}
            row |= {"Δf per row": mean_result(alike, "cost/laplacian_evals")}
            rows.append(row)
        return Outcome(rows, [])

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        data = list(dict.fromkeys(str(row[DATA]) for row in outcome.rows))
        series = list(dict.fromkeys(str(row[SERIES]) for row in outcome.rows))
        for place, name in enumerate(series):
            alike = [row for row in outcome.rows if row[SERIES] == name]
            shift = 0.12 * (place - (len(series) - 1) / 2)
            x = [data.index(str(row[DATA])) + shift for row in alike]
            points(ax, place, x, [float(row[FOUND] or 0) for row in alike], name, linestyle="")
        ax.set_yscale("log")
        found = sorted(float(row[FOUND] or 0) for row in outcome.rows if row[FOUND]) or [1.0]
        label_plainly(ax, y=[tick for tick in TICKS if found[0] / 1.5 < tick < 1.5 * found[-1]])
        ax.set_xticks(range(len(data)), [name.replace(" ", "\n") for name in data])
        ax.set_xlim(-0.5, len(data) - 0.5)
        style_axes(ax, self.title, "data set", FOUND)


def _flow_kl(run: Record) -> float | None:
    """KL of the flow that a run trained, or fitted; None without a flow."""
    found = number(run.results, "eval/flow_kl")
    return number(run.results, "eval/noise_kl") if found is None else found


def _accuracy(runs: Sequence[Record]) -> float | None:
    """Accuracy of the classifier at the end of training; None for a method without one."""
    values = [value for run in runs for _, value in curve(run, "train/accuracy")[-LAST:]]
    return fmean(values) if values else None
