"""Noise contrastive estimation with noise from the data's own distribution.

With q = p_data the classifier's weight is constant, p_θ/(p_θ + νq) = 1/(1 + ν), and the asymptotic covariance is

    n · Cov = (1 + 1/ν) I⁻¹,   I the Fisher information of the normalised model,

(1 + 1/ν) times that of maximum likelihood. Here for N(0, 1) with trained mean, precision and log Z: the energy
f = −a x + ½ b x² has I = diag(1, ½) for (a, b). The objective is that of a logistic regression on (x, x², 1), whose
minimum Newton's method finds for all repetitions at once.

Source: Gutmann & Hyvärinen (2012), JMLR 13, Theorem 3. This noise is not the best one: Chehab, Gramfort & Hyvärinen
(2022), arXiv:2203.01110.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from ebm_cli.claims import Verdict
from ebm_cli.lecture.base import Measurement, Outcome, verdict_within
from ebm_cli.reporting.figures.chart import label_plainly, points, style_axes, theory
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {"mean": 1.0, "precision": 2.0}
"""Parameter → its n · Var by maximum likelihood: 1, and 2 for the precision, whose half has ½."""
N_NEWTON = 12
LOG_NORM = -0.5 * math.log(2 * math.pi)

NU, NAME, FOUND, THEORY, ERROR = "ν", "parameter", "n · Var", "(1 + 1/ν)/I", "relative standard error"


@final
@dataclass(frozen=True)
class NoiseIsData(Measurement):
    """n · Var of mean and precision of a normal distribution, for several ν.

    Args:
        nu: noise rows for each row of data, whole numbers ≥ 1.
        n_rows: n, rows of data of a repetition, ≥ 100.
        n_repetitions: ≥ 100; the relative standard error of a variance is √(2/n_repetitions).
        within: accepted relative error, > 0.
        seed: of data and noise.
    """

    claim: ClassVar[str] = "with noise that is the data's own distribution, nce has 1 + 1/ν times the least variance"

    nu: list[int]
    n_rows: int
    n_repetitions: int
    within: float
    seed: int

    def __post_init__(self) -> None:
        if not self.nu or min(self.nu) < 1:
            raise ValueError(f"nu must be whole numbers >= 1, got {self.nu}")

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows: list[dict[str, Any]] = []
        verdicts: list[tuple[str, Verdict]] = []
        for nu in self.nu:
            rng = generator(self.seed, f"lecture/noise is data/{nu}", torch.device("cpu"))
            x, y = (
                torch.randn(self.n_repetitions, n, generator=rng, dtype=torch.float64)
                for n in (self.n_rows, nu * self.n_rows)
            )
            found = estimates(x, y)
            # f = −a x + ½ b x² with a = mean · precision: at the truth a and the mean have the same variance.
            variances = self.n_rows * found[:, :2].var(0)
            for (name, least), variance in zip(NAMES.items(), variances.tolist(), strict=True):
                exact = (1 + 1 / nu) * least
                row = {NU: nu, NAME: name, FOUND: variance, THEORY: exact, ERROR: math.sqrt(2 / self.n_repetitions)}
                rows.append(row)
                about = f"ν = {nu}, {name}: n · Var"
                verdicts.append(
                    (f"variance of the {name}", verdict_within(about, variance, exact, self.within * exact))
                )
        return Outcome(rows, verdicts)

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        for number, name in enumerate(NAMES):
            rows = [row for row in outcome.rows if row[NAME] == name]
            nu = [float(row[NU] or 0) for row in rows]
            curve = [min(nu) * (max(nu) / min(nu)) ** (i / 100) for i in range(101)]
            label = "(1 + 1/ν)/I" if number == 0 else "_"
            theory(ax, curve, [(1 + 1 / value) * NAMES[name] for value in curve], label)
            points(ax, number, nu, [float(row[FOUND] or 0) for row in rows], name, linestyle="")
        ax.set(xscale="log", ylim=(0, None))
        label_plainly(ax, nu)
        title = "With noise like the data, nce has\n1 + 1/ν times the least variance"
        style_axes(ax, title, "ν, rows of noise for each row of data", "n · variance of the estimate")


def estimates(x: Tensor, y: Tensor) -> Tensor:
    """The minimum of nce for the energy −a x + ½ b x² and noise N(0, 1): (a, b, log Z) [R, 3], by Newton's method.

    Args:
        x: data [R, n].
        y: noise [R, ν n].
    """
    nu = y.shape[1] / x.shape[1]
    both = torch.cat((x, y), 1)
    # h = −f − log Z − log q − log ν is linear in the parameters.
    features = torch.stack((both, -0.5 * both.square(), -torch.ones_like(both)), 2)
    offset = 0.5 * both.square() - LOG_NORM - math.log(nu)
    is_data = torch.zeros_like(both)
    is_data[:, : x.shape[1]] = 1
    theta = both.new_tensor([0.0, 1.0, -LOG_NORM]).repeat(len(x), 1)
    for _ in range(N_NEWTON):
        p = torch.sigmoid(torch.einsum("rnk,rk->rn", features, theta) + offset)
        slope = torch.einsum("rnk,rn->rk", features, p - is_data)
        curvature = torch.einsum("rnk,rn,rnl->rkl", features, p * (1 - p), features)
        theta = theta - torch.linalg.solve(curvature, slope)
    return theta
