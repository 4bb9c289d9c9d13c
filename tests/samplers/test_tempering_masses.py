"""Tempered chains from one mode reach every mode's mass, and agree, within 20,000 gradients of all replicas together.

The step size and the ladder are found in burn-in, whose gradients count.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets.mixture import GaussianGrid, GaussianMixture, GaussianRing
from ebm_cli.evaluation.mcmc_diagnostics import rhat
from ebm_cli.samplers import MALA, Tempering, trace, warm_up
from tests.support import seeded

N_CHAINS, GRADIENTS, BURN_IN = 30, 20_000, 150


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "n_replicas", "hottest"),
    [(GaussianRing, 6, 20.0), (GaussianGrid, 5, 60.0)],
    ids=["eight", "twentyfive"],
)
def test_chains_from_one_mode_reach_all_masses(
    make: Callable[[], GaussianMixture], n_replicas: int, hottest: float
) -> None:
    density, n_points = make(), 0
    # In the units of standardised data.
    unit = float(density.sample(100_000, seeded(9)).std(0).mean())

    def energy(x: Tensor) -> Tensor:
        nonlocal n_points
        n_points += len(x)
        return -density.log_prob(x * unit)

    start = (density.means[0] / unit).repeat(N_CHAINS, 1)
    kernel, rng = Tempering(0.05, kernel=MALA(), n_replicas=n_replicas, hottest=hottest), seeded()
    kernel, state = warm_up(kernel, energy, start, BURN_IN, rng)
    n_steps = (GRADIENTS - math.ceil(n_points / N_CHAINS)) // n_replicas
    draws, _ = trace(kernel, energy, state, n_steps, 1, rng)
    assert n_points <= GRADIENTS * N_CHAINS
    modes = density.modes(draws.flatten(0, 1) * unit)
    masses = torch.bincount(modes, minlength=density.n_modes) / len(modes)
    assert float((masses - density.weights).abs().max()) < 0.02
    assert float(rhat(draws.double()).max()) < 1.01
