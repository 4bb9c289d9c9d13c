"""log Z from independent draws of a density that is close to the model: importance sampling.

With x_i ~ q and w(x) = exp(−f(x))/q(x),

    Z = E_q[w] ≈ (1/n) Σ_i w(x_i),       se² = (1/ESS − 1/n),       ESS = (Σ w)²/Σ w²

No chain has to mix and no mode can be lost that q covers; with ESS a large part of n the error is thousandths of a nat
in seconds, where annealing has hundredths. What it cannot see is mass of the model where q has none, and its error does
not show it. Three conditions therefore decide whether the number counts (`Importance.doubt`):

1. ESS is at least 1 % of the draws;
2. the tail of the weights has k̂ ≤ 0.7 (`pareto`): no rare draw carries the weight;
3. of points where the model has its mass, rows of the data or annealed points, at most 1 % have more than twice the
   largest weight of the draws. Where q misses a mode, all points in it have: their share is what Z misses.

Draws are taken in batches until the error is small enough or a bound on their number is reached. The bound counts
draws, never seconds, so that the result is the same on every machine.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.densities.base import Density
from ebm_cli.evaluation.batched import CHUNK_ROWS, in_chunks, placement
from ebm_cli.evaluation.importance_weights import standard_error, systematic_indices
from ebm_cli.evaluation.pareto import RELIABLE_K, pareto_k
from ebm_cli.samplers import EnergyFn

BATCH = 2 * CHUNK_ROWS
"""Draws that are weighed before it is decided whether more are worth it."""
SHARE = 0.01
"""ESS, as a share of the draws, below which they are too far from the model."""
BEYOND = 0.01
"""Share of the points whose weight may be more than twice that of any draw, beside two standard errors of the count."""
N_POINTS = 2000
"""Points that are weighed, at most."""
TARGET = 0.002
"""Standard error, nats, at which no more draws are taken."""
MOST_BATCHES, WEIGHTS_AT_MOST = 64, 20_000
"""Batches for an energy of at most so many weights: seconds. A larger one gets fewer in proportion, but `FEWEST`."""
FEWEST = 4


class Draws(NamedTuple):
    """Points [N, *shape] of a density q, and log q [N] there, nats."""

    x: Tensor
    log_q: Tensor


@dataclass(frozen=True)
class Importance:
    """log Z by importance sampling.

    Attributes:
        log_z: nats; no finite number if no weight is above 0.
        log_z_se: its standard error.
        ess: effective sample size of the weights, of `n` draws.
        n: draws.
        k: k̂ of the weights' tail.
        first: the first batch of the draws, for chains that start there.
        log_weights: of the first batch [N] float64, on the CPU.
        doubt: why the number is not to be used, a clause; None if it is.
    """

    log_z: float
    log_z_se: float
    ess: float
    n: int
    k: float
    first: Draws
    log_weights: Tensor
    doubt: str | None

    @property
    def trusted(self) -> "Importance | None":
        """Itself, unless it is in doubt."""
        return self if self.doubt is None else None

    def resample(self, n: int, rng: torch.Generator) -> Tensor:
        """n points [n, *shape] of the first batch in proportion to their weights: draws of the model."""
        index = systematic_indices(self.log_weights, n, rng)
        return self.first.x[index.to(self.first.x.device)]


def draws_of(density: Density, n: int, rng: torch.Generator) -> Draws:
    """n independent draws of a density with their log-density, without gradients."""
    with torch.no_grad():
        parts = [density.sample_with_log_prob(min(CHUNK_ROWS, n - i), rng) for i in range(0, n, CHUNK_ROWS)]
    return Draws(*(torch.cat(part) for part in zip(*parts, strict=True)))


def with_log_prob(density: Density, x: Tensor) -> Draws:
    """Points with the log-density there, without gradients."""
    with torch.no_grad():
        return Draws(x, in_chunks(density.log_prob, x))


def log_weights(energy: EnergyFn, draws: Draws) -> Tensor:
    """−f(x) − log q(x) of draws: [N] float64 on the CPU; −inf where f is +inf.  Cost: one energy a draw."""
    dtype, device = placement(energy)
    with torch.no_grad():
        f = in_chunks(energy, draws.x.to(device, dtype))
    return (-f - draws.log_q.to(f)).cpu()


def batches_for(energy: nn.Module) -> int:
    """Batches of draws that an energy of its size gets at most: about five seconds, by its number of weights."""
    n_weights = sum(parameter.numel() for parameter in energy.parameters())
    return max(FEWEST, min(MOST_BATCHES, MOST_BATCHES * WEIGHTS_AT_MOST // max(n_weights, 1)))


def importance(
    energy: EnergyFn, batch: Callable[[int], Draws], points: Sequence[Draws], *, target: float, n_batches: int
) -> Importance:
    """Estimate log ∫ exp(−f(x)) dx from draws of a density.

    Args:
        energy: f, [B, *shape] → [B], nats, in standardised units.
        batch: the i-th batch of draws, i = 0 … n_batches − 1; all of one size of at least 25.
        points: sets of points of the model or the data, with log q there.
        target: standard error, nats, at which no more draws are taken.
        n_batches: taken at most, ≥ 1.

    Cost: one energy a draw and a point.
    """
    first = batch(0)
    weights = [log_weights(energy, first)]
    while True:
        log_w, taken = torch.cat(weights), len(weights)
        log_z, ess = float(log_w.logsumexp(0)) - math.log(len(log_w)), _effective(log_w)
        se = standard_error(ess, len(log_w))
        k = pareto_k(log_w) if ess else math.inf
        doubt = _doubt(len(log_w), ess, k)
        if doubt is not None or se <= target or taken == n_batches:
            doubt = doubt or _missed(energy, points, float(log_w.max()))
            return Importance(log_z, se, ess, len(log_w), k, first, weights[0], doubt)
        # As many in one go as the error asks for, if the weights stay as they are: a rule that looks often stops early.
        wanted = min(math.ceil(taken * (se / target) ** 2), n_batches)
        weights += [log_weights(energy, batch(i)) for i in range(taken, max(wanted, taken + 1))]


def _effective(log_w: Tensor) -> float:
    """Effective sample size; 0 where no weight is a number above 0."""
    ess = float((2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp())
    return ess if math.isfinite(ess) else 0.0


def _doubt(n: int, ess: float, k: float) -> str | None:
    if ess == 0:
        return "the energy is not a number, or infinite, where the density has its mass"
    if ess < SHARE * n:
        return f"only {ess:,.0f} of {n:,} draws carry the weight"
    return f"a few draws carry much of the weight (Pareto k {k:.2f})" if k > RELIABLE_K else None


def _missed(energy: EnergyFn, points: Sequence[Draws], largest: float) -> str | None:
    for some in points:
        # A weight that is not a number is none that the draws have.
        beyond, allowed = int((~(log_weights(energy, some) <= largest + math.log(2))).sum()), BEYOND * len(some.x)
        if beyond > allowed + 2 * math.sqrt(allowed):
            share = beyond / len(some.x)
            return f"{share:.1%} of points where the model has its mass have twice the weight of any draw, or more"
    return None
