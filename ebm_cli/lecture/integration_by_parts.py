"""The score of the data drops out of score matching, where the density vanishes at infinity.

For a density p with score s_p = ∇log p and any smooth field s = −∇f

    E_p[s · s_p] = ∫ s · ∇p dx = −E_p[tr ∇s] + ∮ p s · n dA,

and the surface integral is 0 if p vanishes at infinity. On a uniform box it does not: s_p is 0 inside the box, so that
the left side is 0, and E_p[tr ∇s] is the outflow through the faces,

    ∮ p s · n dA = (1/2a) Σ_i E[s_i | x_i = a] − E[s_i | x_i = −a],     box [−a, a]^D.

Source: Hyvärinen (2005), JMLR 6, Theorem 1 and its conditions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from ebm_cli.claims import Verdict
from ebm_cli.datasets import Gaussian, GaussianRing, Target
from ebm_cli.densities import Density
from ebm_cli.derivatives import laplacian, value_and_grad
from ebm_cli.energies import MLP, Energy
from ebm_cli.lecture.base import Measurement, Outcome
from ebm_cli.reporting.figures.chart import points, style_axes
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ERRORS, FAR = 5, 20
"""Standard errors within which two sides agree, and beyond which they differ."""
HALF_WIDTH = 1.0
"""a of the box, data units."""


@final
@dataclass(frozen=True)
class IntegrationByParts(Measurement):
    """Both sides of the identity for the score of a network, on smooth densities and on a box.

    Args:
        n_points: drawn of each density, ≥ 100.
        seed: of network and points.
    """

    claim: ClassVar[str] = "the score of the data drops out of score matching, if the density vanishes at infinity"

    n_points: int
    seed: int

    def measure(self, runs: Sequence[Record]) -> Outcome:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            energy = MLP((2,), width=64).double().requires_grad_(False)
        rows: list[dict[str, Any]] = []
        verdicts: list[tuple[str, Verdict]] = []
        smooth: dict[str, Target] = {
            "Gaussian": Gaussian(2, cov=[[1.0, 0.6], [0.6, 1.0]]).double(),
            "8 Gaussians": GaussianRing().double(),
        }
        for name, density in smooth.items():
            x = density.sample(self.n_points, generator(self.seed, f"lecture/{name}", torch.device("cpu")))
            row = _sides(name, energy, x, _score(density, x))
            rows.append(row | {"through the boundary": 0.0})
            verdicts.append(("both sides agree", _verdict(row, 0.0, 0.0)))
        rng = generator(self.seed, "lecture/box", torch.device("cpu"))
        x = HALF_WIDTH * (2 * torch.rand(self.n_points, 2, generator=rng, dtype=torch.float64) - 1)
        row = _sides("uniform box", energy, x, torch.zeros_like(x))
        outflow, error = _outflow(energy, self.n_points, rng)
        rows.append(row | {"through the boundary": outflow})
        verdicts.append(("the box: the boundary makes up for it", _verdict(row, outflow, error)))
        gap = abs(row["difference"]) / row["standard error"]
        what = f"{row['difference']:.4g}, {gap:.0f} {'≥' if gap >= FAR else 'not ≥'} {FAR} standard errors from 0"
        verdicts.append(("the box: the sides differ", Verdict(gap >= FAR, f"difference {what}")))
        return Outcome(rows, verdicts)

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        at = range(len(outcome.rows))
        sides = ("E[s · score of the data]", "−E[tr ∇s], what training uses")
        keys = ("E[s·s_p], 1/unit²", "−E[tr ∇s], 1/unit²")
        for number, (key, label) in enumerate(zip(keys, sides, strict=True)):
            values = [float(row[key] or 0) for row in outcome.rows]
            points(ax, number, [i + 0.1 * (2 * number - 1) for i in at], values, label, linestyle="", markersize=9)
        ax.axhline(0, color="#bbbbbb", linewidth=0.8)
        ax.set_xticks(list(at), labels=[str(row["density"]) for row in outcome.rows])
        ax.set_xlim(-0.5, len(outcome.rows) - 0.5)
        title = "Integration by parts holds on smooth densities,\nand fails where the density ends at an edge"
        style_axes(ax, title, "density of the data", "mean over the data, 1/unit²")


def _score(density: Density, x: Tensor) -> Tensor:
    """∇log p at points [N, D]."""
    return -value_and_grad(lambda points: -density.log_prob(points), x)[1]


def _sides(name: str, energy: Energy, x: Tensor, score: Tensor) -> dict[str, Any]:
    """Both sides of the identity, their difference over the same points, and its standard error."""
    grad, trace = laplacian(energy, x)
    left, right = (-grad * score).sum(1), trace
    difference = left - right
    error = float(difference.std()) / sqrt(len(x))
    return {
        "density": name,
        "E[s·s_p], 1/unit²": float(left.mean()),
        "−E[tr ∇s], 1/unit²": float(right.mean()),
        "difference": float(difference.mean()),
        "standard error": error,
    }


def _outflow(energy: Energy, n: int, rng: torch.Generator) -> tuple[float, float]:
    """∮ p s · n dA of the box, and its standard error."""
    total, variance = 0.0, 0.0
    for axis in range(2):
        for side in (-1.0, 1.0):
            x = HALF_WIDTH * (2 * torch.rand(n, 2, generator=rng, dtype=torch.float64) - 1)
            x[:, axis] = side * HALF_WIDTH
            flow = -side * value_and_grad(energy, x)[1][:, axis] / (2 * HALF_WIDTH)
            total += float(flow.mean())
            variance += float(flow.var()) / n
    return total, sqrt(variance)


def _verdict(row: dict[str, Any], boundary: float, boundary_error: float) -> Verdict:
    """Verdict on left side = right side + boundary term."""
    error = sqrt(row["standard error"] ** 2 + boundary_error**2)
    gap = abs(row["difference"] - boundary) / error
    term = f", through the boundary {boundary:.4g}" if boundary else ""
    what = f"{row['density']}: left − right {row['difference']:.4g} ± {error:.2g}{term}"
    return Verdict(gap <= ERRORS, f"{what}, {gap:.1f} {'≤' if gap <= ERRORS else 'not ≤'} {ERRORS} standard errors")
