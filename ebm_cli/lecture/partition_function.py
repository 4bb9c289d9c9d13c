"""Z is an integral over everything: a grid and importance sampling fail as the dimension grows, annealing does not.

The target is a mixture of 2^D Gaussians, the product of one with two modes in every coordinate, whose energy has a
constant c added: log Z = −c, known in any dimension. Three estimates of log Z:

    grid         m points along each axis, m^D in all; refused above `most_points`
    importance   draws of the Gaussian with the mixture's mean and covariance, weighted by exp(−f)/q
    annealing    chains led from that Gaussian to the model, as in `ebm evaluate`

Weights of importance sampling have a variance that grows as a power of D in the exponent: (1 + χ²)^D.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import process_time
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from ebm_cli.claims import Verdict
from ebm_cli.datasets import Mixture
from ebm_cli.densities import Gaussian
from ebm_cli.evaluation.annealing import anneal
from ebm_cli.evaluation.importance_sampling import draws_of, log_weights
from ebm_cli.lecture.base import Measurement, Outcome, verdict_bound
from ebm_cli.reporting.figures.chart import label_plainly, points, style_axes
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CPU = torch.device("cpu")
MEAN, STD, CONSTANT = 1.5, 0.4, 3.0
"""Means ±1.5 and sd 0.4 of the two modes in a coordinate; the constant in the energy, nats."""
REACH = 4.5
"""Half-width of the grid, data units: seven sd beyond the means."""
CHUNK = 1 << 18
"""Points of the grid that are evaluated at once."""
ANNEALED, FAILED, GROWTH = 0.1, 0.3, 8.0
"""Error of annealing that is accepted, nats; error at which importance sampling has failed; factor in the points and in
the seconds of a grid for one dimension more, at least."""


def energy(x: Tensor) -> Tensor:
    """f(x) = −Σ_i log p_1(x_i) + c: [B, D] → [B], with log Z = −c."""
    one = Mixture([[-MEAN], [MEAN]], [STD, STD], [0.5, 0.5]).to(x.dtype)
    return CONSTANT - one.log_prob(x.reshape(-1, 1)).view(x.shape).sum(1)


def grid_log_z(dim: int, per_axis: int) -> float:
    """log Z by the midpoints of a grid."""
    width = 2 * REACH / per_axis
    axis = -REACH + width * (torch.arange(per_axis, dtype=torch.float64) + 0.5)
    total = torch.tensor(-math.inf, dtype=torch.float64)
    for begin in range(0, per_axis**dim, CHUNK):
        index = torch.arange(begin, min(begin + CHUNK, per_axis**dim))
        x = torch.stack([axis[index // per_axis**i % per_axis] for i in range(dim)], 1)
        total = torch.logaddexp(total, (-energy(x)).logsumexp(0))
    return float(total) + dim * math.log(width)


@final
@dataclass(frozen=True)
class PartitionFunction(Measurement):
    """Seconds and error of three estimates of log Z against the dimension.

    Args:
        dims: dimensions ≥ 1, ascending.
        per_axis: points m of the grid along an axis, ≥ 2.
        most_points: of a grid.
        n_draws: of importance sampling.
        n_chains: of annealing, ≥ 10.
        n_temperatures: of annealing, ≥ 2.
        repeats: independent estimates, whose root mean square error counts.
        seed: of the estimates.
    """

    claim: ClassVar[str] = (
        "Z is an integral over everything: grids cost m^D, importance weights degenerate, annealing lasts"
    )

    dims: list[int]
    per_axis: int
    most_points: int
    n_draws: int
    n_chains: int
    n_temperatures: int
    repeats: int
    seed: int

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows: list[dict[str, Any]] = []
        for dim in self.dims:
            base, n_points = _fitted(dim), self.per_axis**dim
            if n_points <= self.most_points:
                rows.append(self._row("grid", dim, n_points, partial(self._grid, dim), repeats=1))
            rows.append(self._row("importance", dim, self.n_draws, partial(self._importance, base)))
            cost = self.n_chains * self.n_temperatures
            rows.append(self._row("annealing", dim, cost, partial(self._annealing, base)))
        return Outcome(rows, self._verdicts(rows))

    def _grid(self, dim: int, rng: torch.Generator) -> float:
        return grid_log_z(dim, self.per_axis)

    def _importance(self, base: Gaussian, rng: torch.Generator) -> float:
        log_w = log_weights(energy, draws_of(base, self.n_draws, rng))
        return float(log_w.logsumexp(0)) - math.log(self.n_draws)

    def _annealing(self, base: Gaussian, rng: torch.Generator) -> float:
        return anneal(energy, base, rng=rng, n_chains=self.n_chains, n_temperatures=self.n_temperatures).log_z

    def _row(
        self, name: str, dim: int, n: int, estimate: Callable[[torch.Generator], float], repeats: int | None = None
    ) -> dict[str, Any]:
        squares, began = [], process_time()
        for i in range(repeats or self.repeats):
            rng = generator(self.seed, f"lecture/{name}/{dim}/{i}", CPU)
            squares.append((estimate(rng) + CONSTANT) ** 2)
        seconds = (process_time() - began) / len(squares)
        error = math.sqrt(sum(squares) / len(squares))
        return {"estimate": name, "dimension": dim, "evaluations": n, "CPU seconds": seconds, "error, nats": error}

    def _verdicts(self, rows: Sequence[dict[str, Any]]) -> list[tuple[str, Verdict]]:
        of = {name: [row for row in rows if row["estimate"] == name] for name in ("grid", "importance", "annealing")}
        first, last = of["grid"][0], of["grid"][-1]
        per_dim = (last["evaluations"] / first["evaluations"]) ** (1 / max(last["dimension"] - first["dimension"], 1))
        slow = [row for row in of["grid"] if row["dimension"] >= 3]
        growth = slow[-1]["CPU seconds"] / slow[-2]["CPU seconds"] if len(slow) > 1 else math.nan
        end = f"in {self.dims[-1]} dimensions, nats,"
        return [
            ("a grid costs m^D", verdict_bound("factor in evaluations for a dimension more", per_dim, at_least=GROWTH)),
            ("a grid costs m^D", verdict_bound("factor in seconds for the last dimension", growth, at_least=GROWTH)),
            (
                "a grid ends early",
                verdict_bound("last dimension of the grid", last["dimension"], at_most=self.dims[-1] - 1),
            ),
            (
                "importance sampling fails",
                verdict_bound(f"error {end}", of["importance"][-1]["error, nats"], at_least=FAILED),
            ),
            ("annealing lasts", verdict_bound(f"error {end}", of["annealing"][-1]["error, nats"], at_most=ANNEALED)),
            (
                "all agree in one dimension",
                verdict_bound("largest error, nats,", max(of[name][0]["error, nats"] for name in of), at_most=ANNEALED),
            ),
        ]

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        figure.set_size_inches(5.2, 5.6)
        axes = figure.subplots(2, 1, sharex=True)
        for ax, key, label in zip(
            axes, ("error, nats", "CPU seconds"), ("error of log Z, nats", "CPU seconds"), strict=True
        ):
            ax.set_yscale("log")
            for number, name in enumerate(dict.fromkeys(row["estimate"] for row in outcome.rows)):
                rows = [row for row in outcome.rows if row["estimate"] == name]
                # A grid's error is rounding: it would stretch the axis by ten decades.
                values = [max(float(row[key] or 0), 1e-4) for row in rows]
                points(ax, number, [float(row["dimension"] or 0) for row in rows], values, str(name))
            title = "Z is an integral over everything: grids end\nearly, importance sampling fails, annealing lasts"
            style_axes(ax, title if key == "error, nats" else "", "dimension D" if ax is axes[1] else "", label)
        label_plainly(axes[1], x=[float(dim) for dim in self.dims])


def _fitted(dim: int) -> Gaussian:
    """The Gaussian with the mean and the covariance of the mixture, which is what a fit to data finds."""
    std = math.sqrt(MEAN**2 + STD**2)
    eye = torch.eye(dim, dtype=torch.float64)
    # Rows with exactly this mean and covariance.
    rows = math.sqrt(dim) * std * torch.cat([eye, -eye])
    return Gaussian(rows, ridge=1e-9)
