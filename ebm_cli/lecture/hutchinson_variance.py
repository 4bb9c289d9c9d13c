"""Hutchinson's estimator of a trace is unbiased; its variance depends on the distribution of its directions.

For a symmetric A in D dimensions and a random v with E[v vᵀ] = I, E[vᵀAv] = tr A, and with F = ‖A‖² (Frobenius)

    Var[vᵀAv] = 2 (F − Σ_i A_ii²)               Rademacher
              = 2 F                             Gaussian
              = 2 D/(D + 2) · (F − (tr A)²/D)   uniform on the sphere of radius √D

Source: Hutchinson (1989); Avron & Toledo (2011), J. ACM 58(2), for the first two; the third from the fourth moments
of the sphere, E[(uᵀAu)²] = ((tr A)² + 2F)/(D(D + 2)).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from ebm_cli.claims import Verdict
from ebm_cli.derivatives import directional
from ebm_cli.energies import MLP, Energy, Quadratic
from ebm_cli.lecture.base import Measurement, Outcome
from ebm_cli.methods.ssm import DRAW
from ebm_cli.reporting.figures.chart import COLOURS, INK, MARKS, style_axes
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ERRORS = 5
"""Standard errors within which a mean or a variance agrees."""
CHUNK = 10_000
"""Directions that are taken at once."""


@final
@dataclass(frozen=True)
class HutchinsonVariance(Measurement):
    """Mean and variance of vᵀ∇²f v over directions v, for three energies whose Hessian is known.

    The energies are quadratic forms with a diagonal and with a full Hessian, and a network at one point.

    Args:
        dim: D ≥ 2.
        n_directions: drawn of each distribution, ≥ 100.
        seed: of Hessians and directions.
    """

    claim: ClassVar[str] = (
        "random projections estimate the trace of a Hessian without bias; their distribution decides the variance"
    )

    dim: int
    n_directions: int
    seed: int

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows: list[dict[str, Any]] = []
        verdicts: list[tuple[str, Verdict]] = []
        for name, energy, x in self._energies():
            hessian = torch.autograd.functional.hessian(lambda point, f=energy: f(point[None]).sum(), x)
            trace = float(hessian.trace())
            for projection, variance in closed_forms(hessian).items():
                values = self._values(energy, x, projection)
                mean, spread = float(values.mean()), float(values.var())
                fourth = float((values - mean).pow(4).mean())
                se = sqrt(variance / len(values)), sqrt(max(fourth - spread**2, 0.0) / len(values))
                # Rounding of the sums, where the estimator has no variance.
                floor = 1e-9 * abs(trace)
                about = f"{name} Hessian, {projection}:"
                row = {"Hessian": name, "directions": projection, "trace": trace, "mean": mean}
                rows.append(row | {"variance": spread, "closed form": variance, "standard error": se[1]})
                verdicts += [
                    ("unbiased", _agreement(f"{about} mean", mean, trace, se[0], floor)),
                    ("variance", _agreement(f"{about} variance", spread, variance, se[1], floor)),
                ]
        for name in dict.fromkeys(row["Hessian"] for row in rows):
            found = {row["directions"]: row["variance"] for row in rows if row["Hessian"] == name}
            passed = found["rademacher"] < found["gaussian"]
            words = ", ".join(f"{projection} {value:.4g}" for projection, value in found.items())
            verdicts.append(("signs vary less than Gaussians", Verdict(passed, f"{name} Hessian: variance {words}")))
        return Outcome(rows, verdicts)

    def _energies(self) -> list[tuple[str, Energy, Tensor]]:
        rng = generator(self.seed, "lecture/hessians", torch.device("cpu"))
        diagonal, full = (Quadratic((self.dim,)).double().requires_grad_(False) for _ in range(2))
        diagonal.raw_precision.copy_(torch.diag(1 + torch.rand(self.dim, generator=rng, dtype=torch.float64)))
        root = torch.randn(self.dim, self.dim, generator=rng, dtype=torch.float64)
        full.raw_precision.copy_(root @ root.T / self.dim)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = MLP((self.dim,), width=64).double().requires_grad_(False)
        x = torch.randn(self.dim, generator=rng, dtype=torch.float64)
        return [("diagonal", diagonal, x), ("full", full, x), ("network's", network, x)]

    def _values(self, energy: Energy, x: Tensor, projection: str) -> Tensor:
        """vᵀ∇²f(x) v [n_directions], one direction for each of as many copies of the point."""
        rng = generator(self.seed, f"lecture/directions/{projection}", torch.device("cpu"))
        found = []
        for begin in range(0, self.n_directions, CHUNK):
            points = x.expand(min(CHUNK, self.n_directions - begin), self.dim)
            v = DRAW[projection]((1, *points.shape), points, rng)
            found.append(directional(energy, points, v)[0].curvature)
        return torch.cat(found)

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        names = list(dict.fromkeys(str(row["Hessian"]) for row in outcome.rows))
        for number, projection in enumerate(dict.fromkeys(str(row["directions"]) for row in outcome.rows)):
            rows = [row for row in outcome.rows if row["directions"] == projection]
            x = [i + 0.22 * (number - 1) for i in range(len(rows))]
            of_trace = [float(row["trace"] or 0) ** 2 for row in rows]
            measured = [float(row["variance"] or 0) / scale for row, scale in zip(rows, of_trace, strict=True)]
            exact = [float(row["closed form"] or 0) / scale for row, scale in zip(rows, of_trace, strict=True)]
            ax.bar(x, measured, width=0.2, color=COLOURS[number], alpha=0.55, label=projection)
            style: dict[str, Any] = {"color": INK, "marker": MARKS[number], "linestyle": "", "markersize": 5}
            ax.plot(x, exact, label="closed form" if number == 0 else None, **style)
        ax.set_xticks(range(len(names)), labels=[f"{name} Hessian" for name in names])
        title = "The variance of the estimated trace depends\non the directions, as the closed forms say"
        style_axes(ax, title, f"in {self.dim} dimensions", "variance of one direction, (trace)²")


def closed_forms(hessian: Tensor) -> dict[str, float]:
    """Var[vᵀAv] of a symmetric A [D, D], by the name of the directions in `method=ssm`."""
    dim, squares = len(hessian), float(hessian.square().sum())
    on_diagonal, trace = float(hessian.diagonal().square().sum()), float(hessian.trace())
    return {
        "rademacher": 2 * (squares - on_diagonal),
        "gaussian": 2 * squares,
        "sphere": 2 * dim / (dim + 2) * (squares - trace**2 / dim),
    }


def _agreement(about: str, value: float, truth: float, error: float, floor: float) -> Verdict:
    """Verdict on a value that must be within `ERRORS` standard errors of the truth."""
    passed = abs(value - truth) <= ERRORS * error + floor
    count = f"{abs(value - truth) / error:.1f} standard errors" if error > 0 else "no error"
    return Verdict(passed, f"{about} {value:.5g}, closed form {truth:.5g}, {count}")
