"""Every sampler keeps the law that it says it keeps.

Chains start at that law, as exact and independent samples, so one position a chain is an exact sample again, however
short the chain is: no burn-in, and a tolerance that is a number of standard errors. On a Gaussian every kernel says
what variance it keeps, its bias included; a kernel with a correction must also keep a mixture whose modes overlap. A
chain that stands still keeps any law, so how much it still remembers of its start is a fact of its own.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from ebm_cli.datasets.mixture import Mixture
from ebm_cli.samplers import EnergyFn, Kernel, adapt, run
from ebm_cli.selftest.harness import Bench, Check, Fact, Skip
from ebm_cli.selftest.tolerances import SIGMAS, deviation, integral, standard_errors

K = TypeVar("K", bound=Kernel)

N_CHAINS, N_STEPS, DIM = 10_000, 20, 2
N_ADAPT, N_ADAPTING = 100, 500
"""Steps and chains from which a step size is found."""
MAX_DOUBLINGS = 10
MEMORY = 0.9
"""Bound of the correlation between where a chain starts and where it is N_STEPS later; of one that stands still, 1."""


def checks(bench: Bench) -> Iterator[Check]:
    """A check for each option of the group `sampler`."""
    for name in bench.options("sampler"):
        yield Check(name, partial(_facts, bench, name))


def _facts(bench: Bench, name: str) -> Iterator[Fact | Skip]:
    kernel = bench.build("sampler", name, Kernel)
    for temperature in (1.0, 2.0):
        law, memory = gaussian_facts(replace(kernel, temperature=temperature), bench.rng(f"samplers/{name}"))
        yield law
    yield memory
    if kernel.target_accept is None:
        yield Skip("law on a mixture", "it has no correction, so it is not exact there")
        return
    rng = bench.rng(f"samplers/{name}/mixture")
    mixture = eight_modes()
    start = mixture.sample(N_CHAINS, rng)

    def energy(x: Tensor) -> Tensor:
        return -mixture.log_prob(x)

    exact = coarse(replace(kernel, temperature=1.0), energy, start[:N_ADAPTING], rng)
    end = run(exact, energy, start, N_STEPS, rng)[0].x
    yield Fact("law on a mixture", deviation(end, energy, integral(energy, start)), SIGMAS, "std. errors")


def gaussian_facts(
    kernel: Kernel, rng: torch.Generator, dtype: torch.dtype = torch.float64
) -> tuple[Fact | Skip, Fact | Skip]:
    """Mean and variance on N(0, I) at the kernel's temperature, and how much of the start is left."""
    law, memory = f"mean and variance at T = {kernel.temperature:g}", f"memory after {N_STEPS} steps"
    said = kernel.stationary_variance(1.0)
    if not said:
        reason = "it does not say which variance it keeps" if said is None else "it adds no noise"
        return Skip(law, reason), Skip(memory, reason)
    if math.isinf(said):
        raise ValueError(f"step_size {kernel.step_size:g} is too long for N(0, I)")
    unit = torch.randn(N_CHAINS, DIM, generator=rng, dtype=dtype, device=rng.device)
    kernel = coarse(kernel, harmonic, math.sqrt(kernel.temperature) * unit[:N_ADAPTING], rng)
    variance = kernel.stationary_variance(1.0)
    assert variance is not None
    start = math.sqrt(variance) * unit
    end = run(kernel, harmonic, start, N_STEPS, rng)[0].x
    # To the CPU first: not every device has float64.
    moments = torch.cat((end, end.square()), 1).cpu().double()
    expected = moments.new_tensor([0.0] * DIM + [variance] * DIM)
    return (
        Fact(law, standard_errors(moments, expected), SIGMAS, "std. errors"),
        Fact(memory, float((start * end).mean()) / variance, MEMORY, "correlation"),
    )


def coarse(kernel: K, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> K:
    """The kernel with a step so long that a mistake in it shows.

    With a correction that is the step of its target acceptance; without one, the longest doubling of its own step at
    which it says that a Gaussian's variance becomes at most half as large again.
    """
    if kernel.target_accept is not None:
        return adapt(kernel, energy, x, N_ADAPT, rng)[0]
    variance = kernel.stationary_variance(1.0)
    if variance is None:
        return kernel
    for _ in range(MAX_DOUBLINGS):
        longer = replace(kernel, step_size=2 * kernel.step_size)
        wider = longer.stationary_variance(1.0)
        if wider is None or wider > 1.5 * variance:
            break
        kernel = longer
    return kernel


def harmonic(x: Tensor) -> Tensor:
    """½‖x‖²: the energy of N(0, I)."""
    return 0.5 * x.flatten(1).square().sum(1)


def eight_modes() -> Mixture:
    """Eight Gaussians on a circle, of unequal weight and near enough that chains change between them; float64."""
    angles = [2 * math.pi * k / 8 for k in range(8)]
    means = [[2 * math.cos(angle), 2 * math.sin(angle)] for angle in angles]
    return Mixture(means, [0.6] * 8, [1.0 + k for k in range(8)]).double()
