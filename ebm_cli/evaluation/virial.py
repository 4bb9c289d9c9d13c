"""Bias of chains from the virial of their draws: by the step of a kernel without a Metropolis test, or by their start.

For every density p ∝ exp(−E/T) that vanishes at infinity, and every point c,

    E_p[(x − c)·∇E(x)] = D T

by integration by parts: the divergence of (x − c) p integrates to 0. A chain with the step eps has another stationary
distribution, and its draws another mean: unadjusted Langevin on N(0, σ²I) has D / (1 − eps/(2σ²)) in place of D. The
difference is about twice the mean excess of the energy, in nats, and needs no reference to compare with. c is the mean
of the draws, which makes the noise small. It does not show every bias: BAOAB has none in x on a Gaussian, and errors of
opposite sign cancel.

**Its standard error** is the spread of the chains' means where the chains are many, whatever the draws of one chain are
worth: they need only be independent of each other. Of few chains it is that of their autocorrelated draws (MCSE), which
is too small until the chains have met and their effective draws are many: two chains on a normal distribution, whose
draws are correlated over a tenth to all of a chain, were three such errors off in 8 to 37 % of runs with no bias at
all. There is no standard error then, and a reason.

A chain with a Metropolis test has no bias once it has forgotten its start. What its virial shows is that it has not, or
that exp(−E) is too flat to be normalised; modes with wrong masses it does not show, since the identity holds in each.

Source: the virial theorem (Clausius 1870); for the bias of Langevin schemes, Leimkuhler & Matthews (2013),
arXiv:1203.5428, section 4.
"""

from math import isfinite, sqrt

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.evaluation.chain_verdicts import MANY_CHAINS, UNMIXED
from ebm_cli.evaluation.mcmc_diagnostics import ess_mean, too_few_draws
from ebm_cli.evaluation.monte_carlo_error import mcse_mean
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value

N_POINTS, MOST_CALLS = 4096, 256
"""Draws whose gradient is taken, and calls of the energy for them, each of all chains."""
ENOUGH_DRAWS = 100
"""Effective draws of fewer chains from which their autocorrelation gives the standard error: then at most 1.4 % of runs
without a bias are called biased, with one chain as with ten."""


def virial(energy: EnergyFn, draws: Tensor, temperature: float = 1.0, rhat: float | None = None) -> Results:
    """The difference E[(x − c)·∇E] − D T of chains, 0 where they have no bias, with its standard error.

    Args:
        energy: E.
        draws: [n_draws, n_chains, *D].
        temperature: T > 0.
        rhat: R̂ of the worst coordinate; None where it is not known.

    Returns:
        `sampler/virial`, `sampler/virial_se`, and `sampler/virial_exact`, D T; absent with a reason where the draws or
        their gradients are not finite. The standard error alone is absent where it cannot be known.

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
    reason = _no_error(values, rhat)
    if reason is not None:
        return Results(found, {"sampler/virial_se": reason})
    many = values.shape[1] >= MANY_CHAINS
    error = float(values.mean(0).std()) / sqrt(values.shape[1]) if many else float(mcse_mean(values))
    return Results(found | {"sampler/virial_se": error})


def _no_error(values: Tensor, rhat: float | None) -> str | None:
    """Why the standard error of the mean of [n_draws, n_chains] cannot be known; None where it can."""
    n_draws, n_chains = values.shape
    if n_chains >= MANY_CHAINS:
        return None
    if reason := too_few_draws(n_draws):
        return reason
    few = "1 chain" if n_chains == 1 else f"{n_chains} chains"
    if rhat is not None and rhat >= UNMIXED:
        return f"it cannot be known from {few} with R-hat {rhat:.4g}; take longer chains, or {MANY_CHAINS} or more"
    ess = float(ess_mean(values))
    if not isfinite(ess):
        return "it cannot be known where one of a few chains is at rest"
    if ess < ENOUGH_DRAWS:
        worth = f"draws of {few} that are worth {ess:.0f} independent ones"
        return f"it cannot be known from {worth}; take {ENOUGH_DRAWS} or more, or {MANY_CHAINS} chains or more"
    return None
