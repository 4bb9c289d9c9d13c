"""Checks of the code in C++, which the compiler builds for the processor of this machine.

A perceptron whose last weights are 0, on a base of precision 1, is the harmonic energy: its chains in native code keep
the distribution that the sampler states, as torch's do.
"""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from ebm_cli.acceleration import attach_native_code, uncovered
from ebm_cli.derivatives import value_and_grad
from ebm_cli.energies import MLP
from ebm_cli.energies.values import values
from ebm_cli.rng import generator
from ebm_cli.samplers import Kernel, run
from ebm_cli.samplers.mala import MALA
from ebm_cli.selftest.harness import STREAMS, Check, Fact, Harness, Skip
from ebm_cli.selftest.samplers import DIM, gaussian_facts
from ebm_cli.selftest.tolerances import relative_error

N_POINTS, BOUND = 256, 1e-4
"""Points at which energy and gradient are compared, and the bound of their relative error."""


def native_checks(harness: Harness) -> Iterator[Check]:
    """The one check of native code."""
    yield Check("native code", lambda: native_facts(harness))


def native_facts(harness: Harness) -> Iterator[Fact | Skip]:
    """Energy and gradients against float64 in torch, and the distribution of every sampler that native code has.

    Cost: two seconds for the build on a machine's first call, and a tenth of a second for each sampler.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(harness.seed)
        energy = MLP((DIM,), width=32, base=1.0).eval()
    why = attach_native_code(energy, 1, has_values=True)
    if why is not None:
        yield Skip("", why)
        return
    x = torch.randn(N_POINTS, DIM, generator=harness.rng("native/points"))
    exact = value_and_grad(copy.deepcopy(energy).double(), x.double())
    state, _ = run(MALA(), energy, x, 0, harness.rng("native/none"))
    assert state.energy is not None
    assert state.grad is not None
    error = max(relative_error(a, b) for a, b in zip((state.energy, state.grad), exact, strict=True))
    yield Fact("energy and gradient", error, BOUND, "relative")
    of_steps = (_of_a_step(energy, x), _of_a_step(copy.deepcopy(energy).double(), x.double()))
    error = max(relative_error(a, b) for a, b in zip(*of_steps, strict=True))
    yield Fact("energy and gradient of a training step", error, BOUND, "relative")
    _flatten(energy)
    for name in harness.options("sampler"):
        kernel = harness.build("sampler", name, Kernel)
        if uncovered(kernel) is None:
            rng = generator(harness.seed, f"{STREAMS}native/{name}", torch.device("cpu"))
            yield gaussian_facts(kernel, rng, torch.float32, energy)[0]._replace(what=f"sampler {name}")


def _of_a_step(energy: MLP, x: torch.Tensor) -> list[torch.Tensor]:
    """The energies of points, and the gradient of the sum of their squares in the weights."""
    f = values(energy, x)
    return [f.detach(), *torch.autograd.grad(f.square().sum(), list(energy.parameters()))]


def _flatten(energy: MLP) -> None:
    """Leave the base alone."""
    *_, last = energy.network.children()
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
