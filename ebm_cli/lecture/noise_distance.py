"""Noise that is easy to tell from the data teaches little.

Runs of nce on a Gaussian, whose noise has w times the standard deviations of the data (`noise.widen`). Its distance is

    KL(data‖noise) = D (log w + 1/(2 w²) − 1/2),

and KL(data‖model) tends to half of `claims.noise_contrastive.error_limit` by n, the number of rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar, final

from ebm_cli.claims.noise_contrastive import limit_of_run
from ebm_cli.lecture.base import Measurement, Outcome
from ebm_cli.lecture.run_numbers import by_setting, last_logged, mean_result
from ebm_cli.reporting.figures.chart import INK, label_plainly, points, style_axes, theory
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DISTANCE, FOUND, LIMIT, ACCURACY = "KL(data‖noise), nats", "KL(data‖model), nats", "in theory, nats", "accuracy"


@final
@dataclass(frozen=True)
class NoiseDistance(Measurement):
    """Error and classifier of nce against the distance of the noise; its statements are claims of the experiment."""

    claim: ClassVar[str] = "noise that is easy to tell from the data teaches little"
    trains: ClassVar[bool] = True

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows = []
        for (w,), alike in by_setting(runs, "noise.widen").items():
            dim = alike[0].get("dataset.density.dim")
            row = {"sd of noise/data": float(w), DISTANCE: dim * (log(w) + 0.5 / w**2 - 0.5)}
            row |= {ACCURACY: fmean(last_logged(run, "train/accuracy") for run in alike)}
            row |= {"loss, nats": mean_result(alike, "eval/objective"), FOUND: mean_result(alike, "eval/kl")}
            row |= {LIMIT: fmean(0.5 * limit_of_run(run) / run.get("dataset.n_train") for run in alike)}
            rows.append(row)
        return Outcome(rows, [])

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        x = [float(row[DISTANCE] or 0) for row in outcome.rows]
        found = [float(row[FOUND] or 0) for row in outcome.rows]
        theory(ax, x, [float(row[LIMIT] or 0) for row in outcome.rows], "theory: Gutmann & Hyvärinen (2012)")
        points(ax, 0, x, found, "measured; % = accuracy of the classifier", linestyle="")
        for row, left, height in zip(outcome.rows, x, found, strict=True):
            percent = f"{100 * float(row[ACCURACY] or 0):.0f} %"
            ax.annotate(
                percent, (left, height), (0, 8), textcoords="offset points", ha="center", fontsize=9.5, color=INK
            )
        ax.set_yscale("log")
        low, high = min(found), max(found)
        ax.set_ylim(low / 2, high * 2.5)
        label_plainly(
            ax, y=[tick for tick in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1) if low / 2 < tick < 2.5 * high]
        )
        title = "The easier the noise is to tell from the data,\nthe less NCE learns from the same number of rows"
        style_axes(ax, title, "distance of the noise, KL(data‖noise), nats", "error, KL(data‖model), nats")
