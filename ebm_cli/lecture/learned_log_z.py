"""The log Z that noise contrastive estimation trains is that of its energy, in the limit of many rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar, final

from ebm_cli.claims.base import result_values
from ebm_cli.lecture.base import Measurement, Outcome
from ebm_cli.lecture.run_numbers import by_setting, curve, mean_result
from ebm_cli.reporting.figures.chart import COLOURS, INK, label_plainly, points, style_axes, theory
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOISE, ROWS, GAP = "noise", "rows", "rms gap, nats"
NAMES = {"gaussian": "Gaussian noise", "uniform": "noise in a box", "mixture": "ten Gaussians"}
"""Option of `noise` → its name in the figure."""


@final
@dataclass(frozen=True)
class LearnedLogZ(Measurement):
    """Trained and integrated log Z during training, and their root mean square gap against the number of rows."""

    claim: ClassVar[str] = "log Z, trained like a parameter, converges to the partition function"
    trains: ClassVar[bool] = True

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows: list[dict[str, float | int | str]] = []
        for (noise, n), alike in by_setting(runs, "noise", "dataset.n_train").items():
            gap = sqrt(fmean(value**2 for value in result_values(alike, "eval/log_z_gap")))
            rows.append({NOISE: str(noise), ROWS: int(n), GAP: gap, "mean log Z": mean_result(alike, "eval/log_z")})
        most = max((int(row[ROWS]) for row in rows), default=0)
        drawn = [run for run in runs if run.get("dataset.n_train") == most]
        curves = {noise: alike[0] for (noise,), alike in by_setting(drawn, NOISE).items()}
        return Outcome(rows, [], {str(noise): _curves(run) for noise, run in curves.items()})

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        left, right = figure.subplots(1, 2)
        for number, (noise, (trained, integral)) in enumerate(outcome.drawn.items()):
            colour = COLOURS[number]
            left.plot(*zip(*trained, strict=True), color=colour, linewidth=1.6)
            left.plot(*zip(*integral, strict=True), color=colour, linewidth=1.6, linestyle=":")
            alike = [row for row in outcome.rows if row[NOISE] == noise]
            x, y = [float(row[ROWS] or 0) for row in alike], [float(row[GAP] or 0) for row in alike]
            points(right, number, x, y, "_")
            if number == 0:
                theory(right, x, [0.5 * y[0] * sqrt(x[0] / n) for n in x], "∝ 1/√n")
            points(left, number, [], [], NAMES.get(noise, f"{noise} noise"))
        left.plot([], [], color=INK, label="trained")
        left.plot([], [], color=INK, linestyle=":", label="integral")
        right.set(xscale="log", yscale="log")
        label_plainly(right, sorted({float(row[ROWS] or 0) for row in outcome.rows}), [0.001, 0.01, 0.1, 1.0])
        gaps = [float(row[GAP] or 0) for row in outcome.rows]
        right.set_ylim(min(gaps) / 3, 2 * max(gaps))
        style_axes(left, "The trained log Z finds\nthe integral …", "training step", "log Z, nats")
        style_axes(right, "… the closer, the more\nrows there are", "rows of data, n", "gap of log Z (rms), nats")


def _curves(run: Record) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]]]:
    """(step, log Z) as it was trained, and as the integral of the energy at that step."""
    integral = curve(run, "val/log_z") or curve(run, "eval/log_z")
    return curve(run, "train/log_z"), integral
