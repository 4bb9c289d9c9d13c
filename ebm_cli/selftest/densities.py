"""Checks of the densities: each integrates to 1, its samples follow it, and its score is the gradient of its logarithm.

The noise densities are fitted to data in two dimensions first, those with parameters by a few steps of maximum
likelihood, because a density can be simpler at its initial parameters than after training.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.methods.fit_density import fit_density
from ebm_cli.selftest.harness import Check, Fact, Harness, Skip
from ebm_cli.selftest.samplers import eight_modes
from ebm_cli.selftest.tolerances import RELATIVE, SIGMAS, deviation, gradient_fact, integral, mass_bound, relative_error

N_DATA, N_SAMPLES, N_POINTS = 2_000, 10_000, 64
FIT_STEPS, FIT_RATE = 20, 1e-2
SHEAR = ((1.0, 0.8), (0.0, 0.5))
"""Linear map of the data: on isotropic data the factor of a covariance cannot be told from its transpose."""


def density_checks(harness: Harness) -> Iterator[Check]:
    """A check for each option of the group `noise`."""
    for name in harness.options("noise"):
        yield Check(name, partial(_option_facts, harness, name))


def _option_facts(harness: Harness, name: str) -> Iterator[Fact | Skip]:
    rng = harness.rng(f"densities/{name}")
    data = eight_modes().sample(N_DATA, rng) @ torch.tensor(SHEAR, dtype=torch.float64)
    density: Density = harness.build("noise", name, Density, shape=tuple(data.shape[1:]), data=data).double()
    fit_density(density, data, FIT_STEPS, rng, lr=FIT_RATE)
    density.requires_grad_(False)
    yield from density_facts(density, rng)
    x, log_q = density.sample_with_log_prob(N_POINTS, rng)
    yield Fact("log q, both ways", relative_error(log_q, density.log_prob(x)), RELATIVE, "relative")


def density_facts(density: Density, rng: torch.Generator) -> Iterator[Fact | Skip]:
    """The defining properties of a density, in float64 on the CPU: its integral, its samples and its score."""
    x = density.sample(N_SAMPLES, rng)

    def energy(points: Tensor) -> Tensor:
        # The zero keeps a flat density differentiable.
        return 0 * points.flatten(1).sum(1) - density.log_prob(points)

    size = x[0].numel()
    if size > 2:
        yield Skip("integral", f"{size} dimensions: a quadrature needs one or two")
    else:
        exact = integral(energy, x)
        yield Fact("integral", abs(torch.tensor(exact.log_z).expm1().item()), mass_bound(exact), "away from 1")
        yield Fact("samples", deviation(x, energy, exact), SIGMAS, "std. errors")
    yield gradient_fact(energy, x[:N_POINTS], rng, "score")
