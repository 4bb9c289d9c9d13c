"""The two limits of energy discrepancy on Gaussians: score matching for short perturbations, likelihood for long ones.

For data N(0, 1) and the model N(0, s²)

    ED_t(s²) = 1/(2s²) − (1 + t)/(2(s² + t)) − ½ log((s² + t)/s²)
    ED_t/t → ½/s⁴ − 1/s²,  the loss of score matching, as t → 0
    ED_t(s²) − ED_t(1) → ½ log s² + ½/s² − ½,  the difference of the likelihoods, as t → ∞

Source: Schröder et al. (2023), arXiv:2307.06431, whose theorem gives both limits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch

from ebm_cli.energies import Quadratic
from ebm_cli.errors import require_positive
from ebm_cli.lecture.base import Measurement, Outcome, verdict_within
from ebm_cli.methods import ED
from ebm_cli.reporting.figures.chart import COLOURS, points, style_axes, theory
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_BATCHES = 20
ERRORS = 5
"""Standard errors within which the method's loss agrees with its closed form."""
MANY = 256
"""Perturbations of a row: the bias of the logarithm of their mean is below the standard error."""

T, EXACT, MEASURED, ERROR, SCALED, APART = "t", "ED_t", "by the method", "its error", "ED_t/t", "ED_t(s²) − ED_t(1)"


def discrepancy(s2: float, t: float) -> float:
    """ED_t of data N(0, 1) and the model N(0, s²)."""
    return 0.5 / s2 - (1 + t) / (2 * (s2 + t)) - 0.5 * math.log((s2 + t) / s2)


@final
@dataclass(frozen=True)
class DiscrepancyLimits(Measurement):
    """Energy discrepancy of a Gaussian against t: the method's loss, its closed form and its limits.

    Args:
        variance: s² of the model, > 0.
        t: variances of the perturbations, > 0, increasing; the first and the last are near the limits.
        measured: the t up to which the method's own loss is compared, > 0.
        n_rows: rows that it is measured on, ≥ 100.
        seed: of the rows.
    """

    claim: ClassVar[str] = (
        "energy discrepancy is score matching for short perturbations, and maximum likelihood for long ones"
    )

    variance: float
    t: list[float]
    measured: float
    n_rows: int
    seed: int

    def __post_init__(self) -> None:
        require_positive(variance=self.variance, measured=self.measured)
        if not self.t or min(self.t) <= 0 or sorted(self.t) != self.t:
            raise ValueError(f"t must be increasing numbers > 0, got {self.t}")

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows: list[dict[str, Any]] = []
        verdicts = []
        s2 = self.variance
        for t in self.t:
            exact = discrepancy(s2, t)
            row: dict[str, Any] = {T: t, EXACT: exact, MEASURED: None, ERROR: None, SCALED: exact / t}
            if t <= self.measured:
                row[MEASURED], row[ERROR] = self._measured(t)
                about = f"t = {t:g}: loss of ed, nats,"
                near = verdict_within(about, row[MEASURED], exact, ERRORS * row[ERROR])
                verdicts.append(("the method has its closed form", near))
            rows.append(row | {APART: exact - discrepancy(1.0, t)})
        score, likelihood = 0.5 / s2**2 - 1 / s2, 0.5 * math.log(s2) + 0.5 / s2 - 0.5
        first, last = rows[0], rows[-1]
        about = f"t = {first[T]:g}: ED_t/t, nats,"
        verdicts.append(("score matching as t → 0", verdict_within(about, first[SCALED], score, 1e-3)))
        about = f"t = {last[T]:g}: ED_t(s²) − ED_t(1), nats,"
        verdicts.append(("likelihood as t → ∞", verdict_within(about, last[APART], likelihood, 1e-3)))
        return Outcome(rows, verdicts)

    def _measured(self, t: float) -> tuple[float, float]:
        """Loss of the method and its standard error; rows at quantiles of variance 1 have no error of theirs."""
        rng = generator(self.seed, f"lecture/discrepancy/{t}", torch.device("cpu"))
        x = torch.special.ndtri(
            (torch.arange(self.n_rows // N_BATCHES, dtype=torch.float64) + 0.5) * N_BATCHES / self.n_rows
        )
        x = (x / x.square().mean().sqrt())[:, None]
        energy = Quadratic((1,), precision=1 / self.variance).double()
        method = ED(t=t, n_perturbations=MANY, w=0.0)
        found = [float(method.loss(energy, x, rng).loss.detach()) for _ in range(N_BATCHES)]
        return fmean(found), stdev(found) / math.sqrt(N_BATCHES)

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        left, right = figure.subplots(1, 2)
        t = [float(row[T] or 0) for row in outcome.rows]
        s2 = self.variance
        points(left, 0, t, [float(row[SCALED] or 0) for row in outcome.rows], "closed form", marker="")
        own = [{key: float(row[key] or 0) for key in (T, MEASURED, ERROR)} for row in outcome.rows if row[MEASURED]]
        at, value = [row[T] for row in own], [row[MEASURED] / row[T] for row in own]
        bars = [ERRORS * row[ERROR] / row[T] for row in own]
        left.errorbar(at, value, bars, color=COLOURS[1], marker="s", linestyle="", label=f"ed, ± {ERRORS} SE")
        theory(left, [t[0], t[-1]], [0.5 / s2**2 - 1 / s2] * 2, "score matching")
        points(right, 0, t, [float(row[APART] or 0) for row in outcome.rows], "ed")
        theory(right, [t[0], t[-1]], [0.5 * math.log(s2) + 0.5 / s2 - 0.5] * 2, "likelihood")
        for axes, title, label in (
            (left, "Short perturbations\nmatch scores …", "ED_t/t, nats"),
            (right, "… long ones\nlikelihoods", "excess of the wrong model, nats"),
        ):
            axes.set(xscale="log")
            axes.margins(y=0.25)
            style_axes(axes, title, "t, variances of the data", label)
