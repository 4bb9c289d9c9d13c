"""Samples of a model by chains, and what the chains say of themselves.

Chains that start at noise end up in the nearest mode, in proportions that have nothing to do with the model. Here they
start at points that annealing has carried to the model and that are resampled by their weights: the modes begin with
their own masses, and the chains, whose kernel leaves the model invariant, keep them.
"""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ebm_cli.evaluation.mcmc_diagnostics import summary
from ebm_cli.evaluation.measured import Results
from ebm_cli.evaluation.values import Value
from ebm_cli.samplers import EnergyFn, Kernel, trace, warm_up

THIN = 10
"""Steps between two kept positions of a chain."""


@dataclass(frozen=True)
class Drawn:
    """Positions kept of the chains [n_kept, n_chains, *shape], standardised units; results about the chains."""

    draws: Tensor
    results: Results


def draw(energy: EnergyFn, kernel: Kernel, starts: Tensor, n_samples: int, burn_in: int, rng: torch.Generator) -> Drawn:
    """Run chains from `starts` and keep at least n_samples positions of them all.

    Args:
        energy: f.
        kernel: the transition; one with an acceptance test finds its step size during burn-in.
        starts: one row a chain [n_chains, *shape].
        n_samples: positions, over all chains, ≥ 1.
        burn_in: steps before the first kept one, ≥ 0.
        rng: source of every draw.

    Cost: burn_in + 10 n_samples/n_chains steps of n_chains chains.
    """
    began = time.monotonic()
    n_kept = math.ceil(n_samples / len(starts))
    kernel, state = warm_up(kernel, energy, starts, burn_in, rng)
    draws, info = trace(kernel, energy, state.x, n_kept * THIN, THIN, rng)
    seconds = time.monotonic() - began
    values: dict[str, Value] = {
        "sampler/acceptance": float(info.accept.mean()),
        "sampler/step_size": float(kernel.step_size),
    }
    if n_kept >= 4:
        found = summary(draws)
        values |= {f"sampler/{name}": value for name, value in found.items()}
        gradients = len(starts) * kernel.evaluations(n_kept * THIN).grad
        if "ess_bulk" in found and gradients:
            values["sampler/ess_per_grad"] = found["ess_bulk"] / gradients
        if "ess_bulk" in found and seconds > 0:
            values["sampler/ess_per_second"] = found["ess_bulk"] / seconds
    return Drawn(draws, Results(values))
