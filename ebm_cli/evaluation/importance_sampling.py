"""log Z from independent draws of a density that is close to the model: importance sampling.

With x_i ~ q and w(x) = exp(−f(x))/q(x),

    Z = E_q[w] ≈ (1/n) Σ_i w(x_i),       se² = (1/ESS − 1/n),       ESS = (Σ w)²/Σ w²

No chain has to mix and no mode can be lost that q covers; with ESS a large part of n the error is thousandths of a nat
in seconds, where annealing has hundredths. What it cannot see is mass of the model where q has none, and its error does
not show it. Three conditions therefore decide whether the number counts (`Importance.doubt`):

1. ESS is at least 1 % of the draws;
2. the tail of the weights has k̂ ≤ 0.7 (`pareto`): no rare draw carries the weight;
3. rows of the data, which lie where a good model has its mass, have no larger weights than draws of the model would:
   E_p[w]/Z = n/ESS for draws of the model itself. A mode of data that q misses has rows with very large weights.

Draws are taken in batches until the error is small enough or a bound on their number is reached. The bound counts
draws, never seconds, so that the result is the same on every machine.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities.base import Density
from ebm_cli.evaluation.batched import CHUNK_ROWS, in_chunks, placement
from ebm_cli.evaluation.importance_weights import standard_error
from ebm_cli.evaluation.pareto import RELIABLE_K, pareto_k
from ebm_cli.samplers import EnergyFn

BATCH = 2 * CHUNK_ROWS
"""Draws that are weighed before it is decided whether more are worth it."""
SHARE = 0.01
"""ESS, as a share of the draws, below which they are too far from the model."""
ROWS_FACTOR = 10.0
"""Factor by which the mean weight of rows of the data may exceed that of draws of the model."""
N_ROWS = 2000
"""Rows that are weighed, at most."""


class Draws(NamedTuple):
    """Points [N, *shape] of a density q, and log q [N] there, nats."""

    x: Tensor
    log_q: Tensor


@dataclass(frozen=True)
class Importance:
    """log Z by importance sampling.

    Attributes:
        log_z: nats; NaN if no weight is a number above 0.
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


def draws_of(density: Density, n: int, rng: torch.Generator) -> Draws:
    """n independent draws of a density with their log-density, without gradients."""
    with torch.no_grad():
        parts = [density.sample_with_log_prob(min(CHUNK_ROWS, n - i), rng) for i in range(0, n, CHUNK_ROWS)]
    return Draws(*(torch.cat(part) for part in zip(*parts, strict=True)))


def log_weights(energy: EnergyFn, draws: Draws) -> Tensor:
    """−f(x) − log q(x) of draws: [N] float64 on the CPU; −inf where f is +inf.  Cost: one energy a draw."""
    dtype, device = placement(energy)
    with torch.no_grad():
        f = in_chunks(energy, draws.x.to(device, dtype))
    return (-f - draws.log_q.to(f)).cpu()


def importance(
    energy: EnergyFn, batch: Callable[[int], Draws], rows: Draws, *, target: float, n_batches: int
) -> Importance:
    """Estimate log ∫ exp(−f(x)) dx from draws of a density.

    Args:
        energy: f, [B, *shape] → [B], nats, in standardised units.
        batch: the i-th batch of draws, i = 0 … n_batches − 1; all of one size of at least 25.
        rows: rows of the data with log q there.
        target: standard error, nats, at which no more draws are taken.
        n_batches: taken at most, ≥ 1.

    Cost: one energy a draw and a row.
    """
    first = batch(0)
    weights, of_rows = [log_weights(energy, first)], log_weights(energy, rows)
    while True:
        log_w, taken = torch.cat(weights), len(weights)
        log_z, ess = _mean(log_w), _effective(log_w)
        se = standard_error(ess, len(log_w))
        k = pareto_k(log_w) if ess else math.inf
        doubt = _doubt(log_w, of_rows, log_z, ess, k)
        if doubt is not None or se <= target or taken == n_batches:
            return Importance(log_z, se, ess, len(log_w), k, first, weights[0], doubt)
        # As many in one go as the error asks for, if the weights stay as they are: a rule that looks often stops early.
        wanted = min(math.ceil(taken * (se / target) ** 2), n_batches)
        weights += [log_weights(energy, batch(i)) for i in range(taken, max(wanted, taken + 1))]


def _mean(log_w: Tensor) -> float:
    log_z = float(log_w.logsumexp(0)) - math.log(len(log_w))
    return log_z if math.isfinite(log_z) else math.nan


def _effective(log_w: Tensor) -> float:
    """Effective sample size; 0 where no weight is a number above 0."""
    ess = float((2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp())
    return ess if math.isfinite(ess) else 0.0


def _doubt(log_w: Tensor, of_rows: Tensor, log_z: float, ess: float, k: float) -> str | None:
    n = len(log_w)
    if ess == 0:
        return "the energy is not a number, or infinite, where the density has its mass"
    if ess < SHARE * n:
        return f"only {ess:,.0f} of {n:,} draws carry the weight"
    if k > RELIABLE_K:
        return f"a few draws carry much of the weight (Pareto k {k:.2f})"
    excess = math.exp(min(_mean(of_rows) - log_z, 700.0)) * ess / n
    if not excess <= ROWS_FACTOR:
        return f"rows of the data have {excess:,.3g} times the weight that the draws let expect"
    return None
