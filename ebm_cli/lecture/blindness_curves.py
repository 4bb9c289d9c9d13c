"""The weights of two distant modes, as far as each objective sees them: exact curves, by quadrature.

Data p = 0.2 N(−m, 1) + 0.8 N(m, 1) on the line, models p_w with the weights w and 1 − w, f_w = −log p_w. What an
objective sees is its spread, the largest minus the smallest value over a range of weights; the truth must have the
least value:

    sm       E_p[½ f'² − f'']
    ed_t     E_p f − E_{p_t} f_t;  the blur of a mixture is one with variances 1 + t
    cnce_ε   2 E_x E_ξ softplus(f(x) − f(x + εξ))
    nll      E_p f

Source: Wenliang & Kanagawa (2020) for the blindness; the curves in t and ε are integrals.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.energies import Mixture
from ebm_cli.errors import require_positive
from ebm_cli.lecture.base import Measurement, Outcome, verdict_bound, verdict_within
from ebm_cli.methods import CNCE, ED, Method
from ebm_cli.reporting.figures.chart import COLOURS, INK, points, style_axes
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUTH = 0.2
"""Weight of the mode at −m."""
WEIGHTS = (0.05, 0.1, 0.2, 0.5, 0.8)
N_BATCHES = 20
ERRORS, SHARE = 5, 0.02
"""Standard errors, and share of the value for the bias of many perturbations, within which a method agrees."""
RARE = 1e-3
"""Spread under which the few rows between the modes decide, nats."""
MANY = 256
"""Perturbations of a row in the measured energy discrepancy."""

SPREAD, LEAST, MEASURED, ERROR = (
    "spread over the weights, nats",
    "weight of the least loss",
    "by the method",
    "its error",
)


@final
@dataclass(frozen=True)
class BlindnessCurves(Measurement):
    """The spread of the losses of sm, ed, cnce and the likelihood over the weights of two modes.

    Args:
        distance: m > 0, half of the distance of the modes, in their standard deviations.
        t: variances of the perturbations of ed, > 0.
        eps: standard deviations of those of cnce, > 0.
        measured: t and ε up to which the losses of the methods themselves are compared, > 0; only where the spread is
            above a thousandth: a smaller one is decided by rows between the modes, which a sample does not have.
        n_rows: rows that they are measured on, ≥ 100.
        seed: of the rows.
    """

    claim: ClassVar[str] = (
        "score matching does not see the weights of distant modes; ed and cnce see them as far as they reach"
    )

    distance: float
    t: list[float]
    eps: list[float]
    measured: float
    n_rows: int
    seed: int

    def __post_init__(self) -> None:
        require_positive(distance=self.distance, measured=self.measured)
        if min((*self.t, *self.eps), default=0.0) <= 0:
            raise ValueError(f"t and eps must be lists of numbers > 0, got {self.t} and {self.eps}")

    def measure(self, runs: Sequence[Record]) -> Outcome:
        curves: list[tuple[str, float | None, Callable[[float], float], Method | None]] = [
            ("nll", None, self.nll, None),
            ("sm", None, self.score_matching, None),
        ]
        for t in self.t:
            method = ED(t=t, n_perturbations=MANY, w=0.0) if t <= self.measured else None
            curves.append(("ed", math.sqrt(t), partial(self.discrepancy, t=t), method))
        for eps in self.eps:
            method_of_eps = CNCE(eps=eps) if eps <= self.measured else None
            curves.append(("cnce", eps, partial(self.conditional, eps=eps), method_of_eps))
        rows: list[dict[str, Any]] = []
        verdicts = []
        for name, reach, curve, own in curves:
            values = {w: curve(w) for w in WEIGHTS}
            low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
            row: dict[str, Any] = {"loss": name, "reach": reach, SPREAD: values[high] - values[low], LEAST: low}
            about = name if reach is None else f"{name} of reach {reach:.3g}"
            verdicts.append(("the truth has the least loss", verdict_within(f"{about}: weight", low, TRUTH, 0.0)))
            found = None if own is None or row[SPREAD] < RARE else self._measured(own, low, high)
            rows.append(row | {MEASURED: found and found[0], ERROR: found and found[1]})
            if found is not None:
                bound = ERRORS * found[1] + SHARE * row[SPREAD]
                verdicts.append(("the method has this spread", verdict_within(about, found[0], row[SPREAD], bound)))
        whole = rows[0][SPREAD]
        verdicts.append(("sm is blind", verdict_bound("sm: spread, nats,", rows[1][SPREAD], at_most=1e-3)))
        for name in ("ed", "cnce"):
            seen = [row[SPREAD] for row in rows if row["loss"] == name]
            least = min(b - a for a, b in pairwise(seen))
            verdicts.append(("a longer reach sees more", verdict_bound(f"{name}: least growth,", least, at_least=0.0)))
        furthest = rows[1 + len(self.t)]
        text = f"ed of reach {furthest['reach']:.3g}: share of the likelihood's spread"
        verdicts.append(("ed becomes the likelihood", verdict_bound(text, furthest[SPREAD] / whole, at_least=0.8)))
        return Outcome(rows, verdicts)

    # --- exact values -------------------------------------------------------------------------------------------------

    def nll(self, w: float) -> float:
        """E_p f_w."""
        x, mass = self._nodes(0.0)
        return float(mass @ self._energy(x, w, 0.0))

    def score_matching(self, w: float) -> float:
        """E_p[½ f'² − f''], with the moments of the two means given x: f' = x − m̄, f'' = 1 − Var(m)."""
        x, mass = self._nodes(0.0)
        of_first = torch.sigmoid(self._log_term(x, w, -1, 0.0) - self._log_term(x, 1 - w, 1, 0.0))
        slope = x - self.distance * (1 - 2 * of_first)
        curvature = 1 - 4 * self.distance**2 * of_first * (1 - of_first)
        return float(mass @ (0.5 * slope.square() - curvature))

    def discrepancy(self, w: float, t: float) -> float:
        """E_p f_w − E_{p_t} f_{w,t}."""
        y, mass = self._nodes(t)
        return self.nll(w) - float(mass @ self._energy(y, w, t))

    def conditional(self, w: float, eps: float) -> float:
        """2 E_x E_ξ softplus(f_w(x) − f_w(x + εξ))."""
        x, mass = self._nodes(0.0)
        xi, of_xi = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(200))
        gap = self._energy(x, w, 0.0)[:, None] - self._energy(x[:, None] + eps * xi, w, 0.0)
        return float(2 * mass @ (F.softplus(gap) @ (of_xi / math.sqrt(2 * math.pi))))

    def _nodes(self, t: float) -> tuple[Tensor, Tensor]:
        """Nodes [N] and the mass of p_t at each: an even grid, exact for smooth densities."""
        sd = math.sqrt(1 + t)
        x = torch.linspace(-self.distance - 10 * sd, self.distance + 10 * sd, 4001, dtype=torch.float64)
        return x, torch.exp(-self._energy(x, TRUTH, t)) * (x[1] - x[0])

    def _energy(self, x: Tensor, w: float, t: float) -> Tensor:
        return -torch.logaddexp(self._log_term(x, w, -1, t), self._log_term(x, 1 - w, 1, t))

    def _log_term(self, x: Tensor, w: float, side: int, t: float) -> Tensor:
        """log w N(x; side · m, 1 + t)."""
        found: Tensor = math.log(w) - 0.5 * (x - side * self.distance).square() / (1 + t)
        return found - 0.5 * math.log(2 * math.pi * (1 + t))

    # --- the methods themselves ---------------------------------------------------------------------------------------

    def _measured(self, method: Method, low: float, high: float) -> tuple[float, float]:
        """Loss at one weight minus that at another, on the same rows with the same perturbations, and its error."""
        rng = generator(self.seed, "lecture/two modes", torch.device("cpu"))
        first, second = (
            Mixture((1,), [[-self.distance], [self.distance]], 1.0, [w, 1 - w]).double() for w in (high, low)
        )
        apart = []
        for _ in range(N_BATCHES):
            n = self.n_rows // N_BATCHES
            side = torch.where(torch.rand(n, 1, generator=rng, dtype=torch.float64) < TRUTH, -1.0, 1.0)
            x = self.distance * side + torch.randn(n, 1, generator=rng, dtype=torch.float64)
            state = rng.get_state()
            losses = [method.loss(f, x, torch.Generator().set_state(state)).loss.detach() for f in (first, second)]
            method.loss(first, x, rng)
            apart.append(float(losses[0] - losses[1]))
        return fmean(apart), stdev(apart) / math.sqrt(N_BATCHES)

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        by_name = {name: [row for row in outcome.rows if row["loss"] == name] for name in ("nll", "sm", "ed", "cnce")}
        for number, name in enumerate(("ed", "cnce")):
            x = [float(row["reach"] or 0) / (2 * self.distance) for row in by_name[name]]
            points(ax, number, x, [float(row[SPREAD] or 0) for row in by_name[name]], name)
            own = [(at, float(row[MEASURED] or 0)) for at, row in zip(x, by_name[name], strict=True) if row[MEASURED]]
            label = "by the method" if number == 0 else None
            ax.plot([at for at, _ in own], [value for _, value in own], "x", color=INK, markersize=7, label=label)
        for name, label, colour in (("nll", "likelihood", COLOURS[2]), ("sm", "score matching", COLOURS[3])):
            ax.axhline(float(by_name[name][0][SPREAD] or 0), color=colour, linewidth=1.6, linestyle="--", label=label)
        ax.set(xscale="log", yscale="log")
        title = "Score matching is blind to the weights of modes;\ned and cnce see as far as they reach"
        style_axes(ax, title, "reach √t or ε, in distances of the modes", "spread of the loss, nats")
        ax.legend(loc="lower right", fontsize=9.5, frameon=False, labelcolor=INK)
