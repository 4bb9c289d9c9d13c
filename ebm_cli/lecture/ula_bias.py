"""Discretisation biases unadjusted Langevin dynamics, and a Metropolis test removes the bias.

On N(0, σ²) a step is x' = (1 − ε/σ²) x + √(2ε) z, an autoregression with the stationary variance

    v = 2ε / (1 − (1 − ε/σ²)²) = σ² / (1 − ε/(2σ²)),

infinite for ε ≥ 2σ². The estimate of v from n independent chains has the standard error v √(2/n).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, ClassVar, final

import torch

from ebm_cli.claims import Verdict
from ebm_cli.energies import Quadratic
from ebm_cli.errors import require_positive
from ebm_cli.lecture.base import Measurement, Outcome
from ebm_cli.reporting.figures.chart import points, style_axes, theory
from ebm_cli.rng import generator
from ebm_cli.runs.record import Record
from ebm_cli.samplers import MALA, Kernel, Langevin, run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ERRORS = 5
"""Standard errors within which a measured variance agrees."""


@final
@dataclass(frozen=True)
class UlaBias(Measurement):
    """Stationary variance of ULA and MALA on N(0, σ²), against the step size.

    Chains start with the variance that the closed form claims; a wrong claim is forgotten in `n_steps` steps.

    Args:
        std: σ > 0.
        step_sizes: ε, as multiples of σ², in (0, 2).
        n_chains: independent chains of each kernel, ≥ 2.
        n_steps: of each chain before its end is measured, ≥ 1.
        seed: of the chains.
    """

    claim: ClassVar[str] = (
        "unadjusted Langevin dynamics samples a wider density, the more so the longer its step; Metropolis mends it"
    )

    std: float
    step_sizes: list[float]
    n_chains: int
    n_steps: int
    seed: int

    def __post_init__(self) -> None:
        require_positive(std=self.std)
        if not self.step_sizes or not all(0 < eps < 2 for eps in self.step_sizes):
            raise ValueError(f"step_sizes must be multiples of the variance in (0, 2), got {self.step_sizes}")

    def measure(self, runs: Sequence[Record]) -> Outcome:
        rows, verdicts = [], []
        sigma2 = self.std**2
        for multiple in self.step_sizes:
            eps = multiple * sigma2
            row: dict[str, float] = {"step size ε/σ²": multiple}
            for name, kernel in (("ULA", Langevin(step_size=eps)), ("MALA", MALA(step_size=eps))):
                truth = kernel.stationary_variance(sigma2)
                assert truth is not None
                value, error = self._variance(kernel, truth), truth * sqrt(2 / self.n_chains)
                row |= {f"{name} variance/σ²": value / sigma2, f"{name} theory": truth / sigma2}
                row |= {f"{name} standard error": error / sigma2}
                gap = abs(value - truth) / error
                sign = "≤" if gap <= ERRORS else "not ≤"
                what = f"ε = {multiple:g} σ²: {value / sigma2:.4f} σ², theory {truth / sigma2:.4f}"
                verdicts.append((name, Verdict(gap <= ERRORS, f"{what}, {gap:.1f} {sign} {ERRORS} standard errors")))
            rows.append(row)
        return Outcome(rows, verdicts)

    def _variance(self, kernel: Kernel, start: float) -> float:
        """Second moment of the chains after `n_steps` from N(0, start)."""
        rng = generator(self.seed, f"lecture/{type(kernel).__name__}/{kernel.step_size}", torch.device("cpu"))
        energy = Quadratic((1,), precision=1 / self.std**2).double()
        x = sqrt(start) * torch.randn(self.n_chains, 1, generator=rng, dtype=torch.float64)
        state, _ = run(kernel, energy, x, self.n_steps, rng)
        return float(state.x.square().mean())

    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        ax = figure.subplots()
        eps = [float(row["step size ε/σ²"] or 0) for row in outcome.rows]
        curve = [max(eps) * i / 200 for i in range(201)]
        theory(ax, curve, [1 / (1 - e / 2) for e in curve], "σ²/(1 − ε/(2σ²))")
        for number, name in enumerate(("ULA", "MALA")):
            points(
                ax, number, eps, [float(row[f"{name} variance/σ²"] or 0) for row in outcome.rows], name, linestyle=""
            )
        title = "Langevin steps widen the density;\na Metropolis test (MALA) removes the bias"
        style_axes(ax, title, "step size ε, in units of σ²", "stationary variance, in units of σ²")
