"""One classifier cannot learn the ratio of two densities that hardly meet; several in a chain of waymarks can.

For p = N(0, σ²) and q = N(0, 1), log p(0)/q(0) = −log σ. The log-odds of two neighbouring waymarks, both Gaussian with
mean 0, are c − a x²: every bridge is a logistic regression of two numbers, and the estimate at 0 is the sum of the c.
With one bridge a threshold on x² separates the samples: the likelihood then has no maximum, and what is found is where
the fit stops.

Source: Rhodes, Xu & Gutmann (2020), "Telescoping density-ratio estimation", section 4.1 and figure 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log, sqrt
from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor

from ebm_cli.lecture.base import Measurement, Outcome, verdict_bound
from ebm_cli.methods.bridges import mixing, waymarks
from ebm_cli.reporting.figures.chart import points, style_axes, theory
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_NEWTON = 20
"""Newton steps of a regression; over four bridges 16 reach the maximum to nine digits."""


@final
@dataclass(frozen=True)
class TelescopedRatio(Measurement):
    """Error of log p(0)/q(0), root mean square over repetitions, against the number of bridges.

    Args:
        std: σ in (0, 1).
        n_rows: of data, and as many of noise, ≥ 100.
        n_bridges: numbers of bridges, ≥ 1 each, of which 1 and 4 are judged.
        repetitions: ≥ 2.
        seed: of all rows.
        at_most: accepted error over four bridges, nats.
        at_least: accepted error of one ratio, nats.
    """

    claim: ClassVar[str] = "a chain of bridges learns a density ratio that one classifier does not"

    std: float
    n_rows: int
    n_bridges: list[int]
    repetitions: int
    seed: int
    at_most: float = 0.3
    at_least: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.std < 1:
            raise ValueError(f"std must be > 0 and < 1, got {self.std}")
        if not {1, 4} <= set(self.n_bridges) or min(self.n_bridges) < 1:
            raise ValueError(f"n_bridges must be numbers >= 1 with 1 and 4 among them, got {self.n_bridges}")

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows, error = [], {}
        for m in self.n_bridges:
            found = torch.tensor([self._estimate(m, i) for i in range(self.repetitions)], dtype=torch.float64)
            gaps = found + log(self.std)
            error[m] = sqrt(float(gaps.square().mean()))
            rows.append({"bridges": m, "log p/q at 0, nats": float(found.mean()), "error, nats": error[m]})
        verdicts = [
            ("one ratio fails", verdict_bound("error of one ratio, nats:", error[1], at_least=self.at_least)),
            ("bridges learn it", verdict_bound("error over 4 bridges, nats:", error[4], at_most=self.at_most)),
        ]
        return Outcome(rows, verdicts, {"truth": -log(self.std)})

    def _estimate(self, m: int, repetition: int) -> float:
        """The sum of the log-odds at 0 over m bridges."""
        rng = generator(self.seed, f"paper/telescoped/{repetition}", torch.device("cpu"))
        x, y = (torch.randn(self.n_rows, generator=rng, dtype=torch.float64) for _ in range(2))
        marks = waymarks(self.std * x, y, mixing(m, self.std ** (1 - 1 / m) if m > 1 else 0.5))
        return sum(_log_odds_at_0(near, far) for near, far in pairwise(marks))

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        m = [float(row["bridges"] or 0) for row in outcome.rows]
        theory(ax, m, [outcome.drawn["truth"]] * len(m), "truth")
        points(ax, 0, m, [float(row["log p/q at 0, nats"] or 0) for row in outcome.rows], "estimate")
        title = "One ratio is far off;\na chain of bridges finds it"
        style_axes(ax, title, "number of bridges", "log p/q at 0, nats")


def _log_odds_at_0(near: Tensor, far: Tensor) -> float:
    """c of the log-odds c − a x² that tell two samples [n] apart, by Newton's method."""
    squares = torch.cat((near, far)).square()
    features = torch.stack((torch.ones_like(squares), -squares / squares.mean()), 1)
    labels = torch.cat((torch.ones_like(near), torch.zeros_like(far)))
    w = features.new_zeros(2)
    for _ in range(N_NEWTON):
        p = (features @ w).sigmoid()
        hessian = (features * (p * (1 - p))[:, None]).T @ features
        # Where the samples are separated the Hessian vanishes.
        ridge = 1e-12 * torch.eye(2, dtype=hessian.dtype)
        w = w + torch.linalg.solve(hessian + ridge, features.T @ (labels - p))
    return float(w[0])
