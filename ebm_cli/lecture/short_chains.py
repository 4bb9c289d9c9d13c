"""Contrastive divergence with too few steps learns another density.

Chains of k unadjusted Langevin steps with step size ε, started from N(0, w² v), have on an energy of precision λ the
variance

    v_k(λ) = aᵏ w² v + 2ε (1 − aᵏ)/(1 − a),   a = (1 − ε λ)²,

and training ends where v_k(λ) = v, the variance of the data. Started at the data (w = 1) that is
λ = (1 − √(1 − 2ε/v))/ε for every k: the bias of the step
size alone. In D dimensions KL(data‖model) = D/2 (λ v − 1 − log(λ v)).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, ClassVar, final

from ebm_cli.claims import Verdict
from ebm_cli.lecture.base import Measurement, Outcome
from ebm_cli.lecture.run_numbers import by_setting, mean_result
from ebm_cli.reporting.figures.chart import label_plainly, points, style_axes, theory
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

START, STEPS, FOUND, LIMIT = "start", "steps k", "KL(data‖model), nats", "closed form, nats"


@final
@dataclass(frozen=True)
class ShortChains(Measurement):
    """KL of the learned Gaussian against k, for chains from noise and from the data, beside the closed form.

    For runs of `method=cd sampler=langevin energy=quadratic dataset=gaussian` with an identity covariance.

    Args:
        within: largest relative error of a mean KL, > 0.
        floor: absolute error that is allowed in any case, nats, ≥ 0.
    """

    claim: ClassVar[str] = "contrastive divergence with too few steps learns another density"
    trains: ClassVar[bool] = True

    within: float
    floor: float

    def __post_init__(self) -> None:
        if self.within <= 0:
            raise ValueError(f"within must be > 0, got {self.within}")
        if self.floor < 0:
            raise ValueError(f"floor must be >= 0, got {self.floor}")

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows: list[dict[str, float | int | str]] = []
        verdicts: list[tuple[str, Verdict]] = []
        for (start, k), alike in by_setting(runs, "method.start", "method.k").items():
            first = alike[0]
            widen = first.get("noise.widen") if start == "noise" else 1.0
            truth = learned_kl(first.get("dataset.density.dim"), k, first.get("sampler.step_size"), widen)
            found = mean_result(alike, "eval/kl")
            rows.append({START: str(start), STEPS: int(k), FOUND: found, LIMIT: truth})
            passed = abs(found - truth) <= self.within * truth + self.floor
            bound = f"{'' if passed else 'not '}within {100 * self.within:g} % + {self.floor:g}"
            what = f"from {start}, k = {k}: KL {found:.4g}, closed form {truth:.4g}, {bound}"
            verdicts.append(("closed form", Verdict(passed, what)))
        return Outcome(rows, verdicts)

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        for number, start in enumerate(dict.fromkeys(str(row[START]) for row in outcome.rows)):
            alike = [row for row in outcome.rows if row[START] == start]
            x = [float(row[STEPS] or 0) for row in alike]
            label = "closed form" if number == 0 else "_closed form"
            theory(ax, x, [float(row[LIMIT] or 0) for row in alike], label)
            points(ax, number, x, [float(row[FOUND] or 0) for row in alike], f"chains from {start}", linestyle="")
        ax.set(xscale="log", yscale="log")
        label_plainly(ax, [float(row[STEPS] or 0) for row in outcome.rows], [0.001, 0.01, 0.1, 1.0])
        title = "Chains that are too short teach another density;\nlong ones leave the bias of the step size"
        style_axes(ax, title, "steps of a chain, k", "KL(data‖model), nats")


def learned_precision(k: int, step_size: float, widen: float) -> float:
    """λ at which chains of k steps from N(0, w²) end with the variance 1.

    Args:
        k: ≥ 1.
        step_size: ε in (0, 0.5).
        widen: w ≥ 1.
    """
    # The import takes a quarter of a second, which a run without this measurement saves.
    from scipy.optimize import brentq

    def excess(precision: float) -> float:
        a = (1 - step_size * precision) ** 2
        return float(a**k * widen**2 + 2 * step_size * (1 - a**k) / (1 - a) - 1)

    # Up to 1/ε the variance falls with λ; it ends there at 2ε < 1.
    return float(brentq(excess, 1e-9, 1 / step_size))


def learned_kl(dim: int, k: int, step_size: float, widen: float) -> float:
    """KL(data‖model) of N(0, I) and the Gaussian that is learned, nats."""
    precision = learned_precision(k, step_size, widen)
    return 0.5 * dim * (precision - 1 - log(precision))
