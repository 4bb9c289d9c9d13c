"""The noise of Langevin dynamics is what makes it sample: without it, chains collapse onto modes.

Langevin dynamics with its noise scaled by s samples exp(−f/s²), the density at the temperature s². On K well separated
Gaussians of standard deviation σ in the plane that is, in each mode, a variance of s² σ²/(1 − ε/(2σ²)), and the entropy

    H = −Σ_k w_k log w_k + Σ_k w_k ½ log det(2πe S_k)

is lower by −2 log s. Chains pass from mode to mode within s = 1 only: the barrier between two is four times as high in
nats for s = ½, and with s = 0 they follow the gradient to the nearest mode. Chains that start unevenly show both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from ebm_cli.claims import Verdict
from ebm_cli.datasets import GaussianRing
from ebm_cli.energies.given import Given
from ebm_cli.lecture.base import Measurement, Outcome, verdict_bound, verdict_within
from ebm_cli.reporting.figures.chart import COLOURS, INK, PALE
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record
from ebm_cli.samplers import Langevin, trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_TRACES, N_DRAWN = 5, 1500
"""Chains whose path is drawn, and chains whose end is drawn."""
TV, ENTROPY, COLLAPSED = 0.05, 0.1, 1e-3
"""Accepted distance of mode masses and of entropy from the true ones; spread in a mode, over σ, that is a point."""


@final
@dataclass(frozen=True)
class WhyTheNoise(Measurement):
    """Mode masses and entropy of Langevin chains on eight Gaussians, for several noise scales.

    Args:
        noise_scales: factors s of the noise, the first of them 1, the last 0.
        step_size: ε > 0, squared data units.
        n_steps: of each chain, a multiple of 100.
        n_chains: ≥ 100.
        seed: of the chains.
    """

    claim: ClassVar[str] = "without its noise, Langevin dynamics collapses onto modes; only the full noise samples"

    noise_scales: list[float]
    step_size: float
    n_steps: int
    n_chains: int
    seed: int

    def __post_init__(self) -> None:
        if self.noise_scales[:1] != [1] or self.noise_scales[-1:] != [0]:
            raise ValueError(f"noise_scales must begin with 1 and end with 0, got {self.noise_scales}")
        if self.n_steps < 100 or self.n_steps % 100:
            raise ValueError(f"n_steps must be a multiple of 100, got {self.n_steps}")

    def measure(self, runs: Sequence[Record]) -> Outcome:
        target = GaussianRing().double()
        exact = target.sample(self.n_chains, generator(self.seed, "lecture/exact", torch.device("cpu")))
        truth = _describe("exact draws", exact, target)
        rows, paths = [truth], {}
        for scale in self.noise_scales:
            paths[scale] = self._chains(target, scale)
            rows.append(_describe(f"noise scale {scale:g}", paths[scale][-1], target))
        return Outcome(rows, self._verdicts(rows), {"target": target, "paths": paths})

    def _chains(self, target: GaussianRing, scale: float) -> Tensor:
        """Positions [101, n_chains, 2] of chains from N((1, ½), I): starts nearer to some modes than to others."""
        rng = generator(self.seed, f"lecture/noise/{scale}", torch.device("cpu"))
        start = torch.randn(self.n_chains, 2, generator=rng, dtype=torch.float64) + torch.tensor([1.0, 0.5])
        kernel = Langevin(step_size=self.step_size, noise_scale=scale)
        draws, _ = trace(kernel, Given(target, target.shape), start, self.n_steps, self.n_steps // 100, rng)
        return torch.cat([start[None], draws])

    def _verdicts(self, rows: Sequence[dict[str, Any]]) -> list[tuple[str, Verdict]]:
        truth, full, *fewer, none = rows
        bias = -math.log(1 - self.step_size / (2 * GaussianRing().std ** 2))
        found = [
            ("full noise samples", verdict_bound("distance of mode masses", full["mode TV"], at_most=TV)),
            (
                "full noise samples",
                verdict_within("entropy, nats,", full["entropy, nats"], truth["entropy, nats"] + bias, ENTROPY),
            ),
            (
                "no noise collapses",
                verdict_bound("spread in a mode, σ,", none["spread in a mode, σ"], at_most=COLLAPSED),
            ),
        ]
        found += [
            ("less noise keeps the start", verdict_bound(f"{row['chain']}, mode TV", row["mode TV"], at_least=4 * TV))
            for row in (*fewer, none)
        ]
        for scale, row in zip(self.noise_scales[1:], fewer, strict=False):
            colder = truth["spread in a mode, σ"] * scale * math.exp(bias / 2)
            found.append(
                (
                    "less noise is colder",
                    verdict_within(f"{row['chain']}, spread, σ,", row["spread in a mode, σ"], colder, 0.05),
                )
            )
        return found

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        figure.set_size_inches(5.2, 4.6)
        figure.suptitle(
            "Without noise, chains collapse onto the nearest modes", fontsize=11.5, color=INK, x=0.02, ha="left"
        )
        axes = figure.subplots(
            2, len(self.noise_scales), gridspec_kw={"height_ratios": [1.25, 1]}, sharex="row", sharey="row"
        )
        for column, scale in enumerate(self.noise_scales):
            path = outcome.drawn["paths"][scale]
            top, bottom = axes[0][column], axes[1][column]
            end = path[-1][:N_DRAWN]
            top.scatter(end[:, 0], end[:, 1], s=14 if scale == 0 else 3, color=COLOURS[0], alpha=0.5, linewidths=0)
            top.set_title(f"noise × {scale:g}", fontsize=10.5, color=INK)
            top.set(xlim=(-4.3, 4.3), ylim=(-4.3, 4.3), aspect="equal", xticks=[-3, 0, 3], yticks=[-3, 0, 3])
            steps = [i * self.n_steps / 100 / 1000 for i in range(101)]
            for number in range(N_TRACES):
                bottom.plot(steps, path[:, number, 0], color=COLOURS[number], linewidth=0.9)
            bottom.set(ylim=(-4.3, 4.3), yticks=[-3, 0, 3])
            for ax in (top, bottom):
                ax.tick_params(labelsize=9, colors=INK, length=2)
                ax.spines[:].set(color=PALE, linewidth=0.7)
        axes[0][0].set_ylabel("where chains end\n(data units)", fontsize=9.5, color=INK)
        axes[1][0].set_ylabel("x of five chains\n(data units)", fontsize=9.5, color=INK)
        axes[1][len(self.noise_scales) // 2].set_xlabel("steps, thousands", fontsize=10, color=INK)


def _describe(name: str, x: Tensor, target: GaussianRing) -> dict[str, Any]:
    """Mode masses, entropy and spread of points [N, 2], by the Gaussian of the points in each mode."""
    mode = target.modes(x)
    masses = torch.bincount(mode, minlength=target.n_modes).double() / len(x)
    entropy, variance = 0.0, 0.0
    for k in range(target.n_modes):
        inside = x[mode == k]
        if len(inside) < 3:
            continue
        cov, w = torch.cov(inside.T), float(masses[k])
        variance += w * float(cov.trace()) / 2
        # Rounding can make the determinant of a point's covariance negative.
        det = max(float(torch.linalg.det(2 * math.pi * math.e * cov)), 0.0)
        entropy += w * (0.5 * math.log(det) if det > 0 else -math.inf) - w * math.log(w)
    return {
        "chain": name,
        "mode TV": 0.5 * float((masses - 1 / target.n_modes).abs().sum()),
        "smallest mode": float(masses.min()),
        "largest mode": float(masses.max()),
        "entropy, nats": entropy,
        "spread in a mode, σ": math.sqrt(variance) / target.std,
    }
