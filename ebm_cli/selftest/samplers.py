"""Checks of the samplers: every sampler leaves invariant the distribution that it states.

The definition of invariance is that of `ebm_cli.selftest.invariance`. On a Gaussian every kernel states the variance
that it keeps, its bias included; a kernel with a correction must also keep a mixture whose modes overlap. A chain that
stands still keeps any distribution, so the correlation between its end and its start is a fact of its own.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from ebm_cli.datasets.mixture import Mixture
from ebm_cli.rng import generator
from ebm_cli.samplers import EnergyFn, Kernel, State, Tempering, adapt, run
from ebm_cli.selftest.harness import STREAMS, Check, Fact, Harness, Skip
from ebm_cli.selftest.invariance import N_STEPS, gaussian_deviation, harmonic, invariance
from ebm_cli.selftest.tolerances import SIGMAS, deviation, integral, standard_errors

K = TypeVar("K", bound=Kernel)

N_CHAINS, DIM = 10_000, 2
N_ADAPT_STEPS, N_ADAPT_CHAINS = 100, 500
"""Steps and chains from which a step size is adapted."""
N_CROSSING = 1000
"""Chains that have to find the second mode of a mixture."""
MAX_DOUBLINGS = 10
MAX_MEMORY = 0.9
"""Bound of the correlation between the start of a chain and its position N_STEPS later; 1 for one that stands still."""


def sampler_checks(harness: Harness) -> Iterator[Check]:
    """A check for each option of the group `sampler`."""
    for name in harness.options("sampler"):
        yield Check(name, partial(_option_facts, harness, name))


def _option_facts(harness: Harness, name: str) -> Iterator[Fact | Skip]:
    return kernel_facts(harness.build("sampler", name, Kernel), harness.seed, name)


def kernel_facts(kernel: Kernel, seed: int = 0, name: str = "kernel") -> Iterator[Fact | Skip]:
    """All facts about one kernel: its distribution on a Gaussian at two temperatures, its memory, and a mixture.

    Args:
        kernel: its step size is adapted where it can be.
        seed: of all random numbers, ≥ 0.
        name: of the random streams.

    Cost: about a second for a kernel with one gradient a step.
    """
    cpu = torch.device("cpu")
    for temperature in (1.0, 2.0):
        rng = generator(seed, f"{STREAMS}samplers/{name}", cpu)
        moments, memory = gaussian_facts(replace(kernel, temperature=temperature), rng)
        yield moments
    yield memory
    if isinstance(kernel, Tempering):
        yield crossing_fact(kernel, generator(seed, f"{STREAMS}samplers/{name}/crossing", cpu))
        return
    if kernel.target_accept is None:
        yield Skip("distribution, mixture", "the sampler has no correction, so it is not exact on a mixture")
        return
    yield _mixture_fact(replace(kernel, temperature=1.0), generator(seed, f"{STREAMS}samplers/{name}/mixture", cpu))


def _mixture_fact(kernel: Kernel, rng: torch.Generator) -> Fact:
    """The distribution of a corrected kernel on `eight_modes`."""
    mixture = eight_modes()
    start = mixture.sample(N_CHAINS, rng)

    def energy(x: Tensor) -> Tensor:
        return -mixture.log_prob(x)

    kernel = with_coarse_step(kernel, energy, start[:N_ADAPT_CHAINS], rng)
    exact = integral(energy, start)
    return invariance(
        kernel, energy, start, lambda end: deviation(end, energy, exact), rng, what="distribution, mixture"
    )[0]


def crossing_fact(kernel: Tempering, rng: torch.Generator) -> Fact:
    """Masses and variance of 0.2 N(−4, 1) + 0.8 N(4, 1) from chains that all start at −4, eight nats from the other.

    No part of the kernel alone shows here: it is the rule of the exchanges that gives the modes their masses.
    """
    mixture = Mixture([[-4.0], [4.0]], [1.0, 1.0], [0.2, 0.8]).double()

    def energy(x: Tensor) -> Tensor:
        return -mixture.log_prob(x)

    start = torch.full((N_CROSSING, 1), -4.0, dtype=torch.float64)
    kernel, state = adapt(replace(kernel, temperature=1.0), energy, start, N_ADAPT_STEPS, rng)
    x = run(kernel, energy, state, 2 * N_ADAPT_STEPS, rng)[0].x
    found = torch.cat(((x > 0).double(), x, x.square()), 1)
    expected = found.new_tensor((0.8, 2.4, 17.0))
    return Fact("mode masses and variance from one mode", standard_errors(found, expected), SIGMAS, "std. errors")


def gaussian_facts(
    kernel: Kernel, rng: torch.Generator, dtype: torch.dtype = torch.float64, energy: EnergyFn = harmonic
) -> tuple[Fact | Skip, Fact | Skip]:
    """Mean and variance on N(0, I) at the kernel's temperature, and the correlation of the end with the start.

    Args:
        kernel: with the temperature at which it is measured.
        rng: its device is where the chains run.
        dtype: of the chains; the moments are taken in float64 on the CPU.
        energy: that of N(0, I), up to a constant.

    Raises:
        ValueError: the kernel states that its step size is unstable on N(0, I).
    """
    what = f"mean and variance at T = {kernel.temperature:g}", f"memory after {N_STEPS} steps"
    # A tuned kernel is biased, by much less than the noise of the moments.
    tuned = kernel.target_error is not None
    stated = kernel.temperature if tuned else kernel.stationary_variance(1.0)
    if not stated:
        reason = "the sampler does not state its variance" if stated is None else "the sampler adds no noise"
        return Skip(what[0], reason), Skip(what[1], reason)
    if math.isinf(stated):
        raise ValueError(f"step_size {kernel.step_size:g} is too long for N(0, I)")
    unit = torch.randn(N_CHAINS, DIM, generator=rng, dtype=dtype, device=rng.device)
    kernel = with_coarse_step(kernel, energy, math.sqrt(kernel.temperature) * unit[:N_ADAPT_CHAINS], rng)
    variance = stated if tuned else kernel.stationary_variance(1.0)
    assert variance is not None
    start = math.sqrt(variance) * unit
    state: Tensor | State = start
    if isinstance(kernel, Tempering):
        # Replica r is N(0, T σ²/β_r I), independent of the others.
        hot = [torch.randn(start.shape, generator=rng, dtype=dtype, device=rng.device) for _ in kernel.betas[1:]]
        hot = [math.sqrt(variance / beta) * unit for beta, unit in zip(kernel.betas[1:], hot, strict=True)]
        state = kernel.init_ladder(energy, torch.stack((start, *hot)), rng)
    moments, end = invariance(kernel, energy, state, gaussian_deviation(variance), rng, what=what[0])
    return moments, Fact(what[1], float((start * end).mean()) / variance, MAX_MEMORY, "correlation")


def with_coarse_step(kernel: K, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> K:
    """The kernel with a step so long that a mistake in it shows.

    A kernel with a correction gets the step of its target acceptance, a tuned one that of its energy error. Any other
    gets its own step, doubled as long as the variance that it states on a Gaussian grows by at most a half.

    Args:
        kernel: any.
        energy, x: target and start of the chains that adapt the step.
        rng: of those chains.
    """
    if kernel.can_adapt:
        return adapt(kernel, energy, x, N_ADAPT_STEPS, rng)[0]
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


def eight_modes() -> Mixture:
    """Eight Gaussians on a circle in float64: unequal weights, and near enough that chains move between them."""
    angles = [2 * math.pi * k / 8 for k in range(8)]
    means = [[2 * math.cos(angle), 2 * math.sin(angle)] for angle in angles]
    return Mixture(means, [0.6] * 8, [1.0 + k for k in range(8)]).double()
