"""Bias of chains from the virial of their draws: by the step of a kernel without a Metropolis test, or by their start.

For every density p ∝ exp(−E/T) that vanishes at infinity, and every point c,

    E_p[(x − c)·∇E(x)] = D T

by integration by parts: the divergence of (x − c) p integrates to 0. A chain with the step eps has another stationary
distribution, and its draws another mean: unadjusted Langevin on N(0, σ²I) has D / (1 − eps/(2σ²)) in place of D. The
difference is about twice the mean excess of the energy, in nats, and needs no reference to compare with. c is the mean
of the draws, which makes the noise small. It does not show every bias: BAOAB has none in x on a Gaussian, and errors of
opposite sign cancel.

A chain with a Metropolis test has no bias once it has forgotten its start. What its virial shows is that it has not, or
that exp(−E) is too flat to be normalised; modes with wrong masses it does not show, since the identity holds in each.

Source: the virial theorem (Clausius 1870); for the bias of Langevin schemes, Leimkuhler & Matthews (2013),
arXiv:1203.5428, section 4.
"""

from math import isfinite, nan, sqrt

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.evaluation.mcmc_diagnostics import MIN_DRAWS
from ebm_cli.evaluation.monte_carlo_error import mcse_mean
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value

N_POINTS, MOST_CALLS = 4096, 256
"""Draws whose gradient is taken, and calls of the energy for them, each of all chains."""
MANY_CHAINS = 20
"""Chains from which the spread of their means gives the standard error."""


def virial(energy: EnergyFn, draws: Tensor, temperature: float = 1.0) -> Results:
    """The difference E[(x − c)·∇E] − D T of chains, 0 where they have no bias, with its standard error.

    Args:
        energy: E.
        draws: [n_draws, n_chains, *D].
        temperature: T > 0.

    Returns:
        `sampler/virial`, `sampler/virial_se`, and `sampler/virial_exact`, D T; absent with a reason where the draws or
        their gradients are not finite.

    Cost: some 4096 gradients.
    """
    n_draws, n_chains = draws.shape[:2]
    n_kept = min(n_draws, -(-N_POINTS // n_chains), MOST_CALLS)
    kept = draws[torch.linspace(0, n_draws - 1, n_kept).round().long()]
    exact = temperature * draws[0, 0].numel()
    centre = draws.double().mean((0, 1))
    # One call a draw: the energy of a chain may be conditional on a row of its own.
    values = torch.stack([((x - centre) * value_and_grad(energy, x)[1]).flatten(1).sum(1) for x in kept])
    if not bool(values.isfinite().all()):
        return Results(absent={"sampler/virial": "draws or their gradients are not finite"})
    found: dict[str, Value] = {"sampler/virial": float(values.mean()) - exact, "sampler/virial_exact": exact}
    error = _standard_error(values)
    return Results(found if error is None else found | {"sampler/virial_se": error})


def _standard_error(values: Tensor) -> float | None:
    """Standard error of the mean of [n_draws, n_chains]; None for too few of both, and of few with one at rest."""
    n_draws, n_chains = values.shape
    if n_chains >= MANY_CHAINS:
        return float(values.mean(0).std()) / sqrt(n_chains)
    error = float(mcse_mean(values)) if n_draws >= MIN_DRAWS else nan
    return error if isfinite(error) else None
