"""Unadjusted Langevin dynamics: its formula, and its known bias."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.derivatives import value_and_grad
from ebm_cli.samplers import run
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.selftest.invariance import harmonic
from tests.samplers.targets import BANANA, SIGMAS, deviation_of_variance
from tests.support import normal, seeded


@pytest.mark.parametrize(("eps", "var"), [(0.1, 0.5), (0.5, 1.0), (1.5, 1.0)])
def test_langevin_has_its_biased_variance_on_a_gaussian(eps: float, var: float) -> None:
    def energy(x: Tensor) -> Tensor:
        return harmonic(x) / var

    biased = var / (1 - eps / (2 * var))
    z = normal(200_000, 1)
    end, _ = run(Langevin(eps), energy, math.sqrt(biased) * z, 30, seeded())
    assert deviation_of_variance(end.x, biased) < SIGMAS
    # Control: the target's own variance is not stationary; one step changes it as the closed form says.
    end, _ = run(Langevin(eps), energy, math.sqrt(var) * z, 1, seeded())
    assert deviation_of_variance(end.x, var) > SIGMAS
    assert deviation_of_variance(end.x, (1 - eps / var) ** 2 * var + 2 * eps) < SIGMAS


def test_langevin_scales_its_biased_variance_by_temperature() -> None:
    biased = 2.0 / (1 - 0.5 / 2)
    state, _ = run(Langevin(0.5, temperature=2.0), harmonic, math.sqrt(biased) * normal(100_000, 1), 20, seeded())
    assert deviation_of_variance(state.x, biased) < SIGMAS


def test_langevin_step_is_its_formula() -> None:
    eps, scale, temperature = 0.07, 0.6, 1.3
    x = normal(50, 2)
    grad = value_and_grad(BANANA.energy, x)[1]
    z = torch.randn(x.shape, generator=seeded(), dtype=x.dtype)
    expected = x + eps * -grad + math.sqrt(2 * eps) * scale * math.sqrt(temperature) * z
    state, info = run(Langevin(eps, temperature, scale), BANANA.energy, x, 1, seeded())
    torch.testing.assert_close(state.x, expected, rtol=1e-14, atol=1e-14)
    assert torch.equal(info.accept, torch.ones(50, dtype=x.dtype))


def test_langevin_without_noise_is_gradient_descent() -> None:
    x = expected = normal(20, 3)
    for _ in range(7):
        expected = expected - 0.25 * expected
    assert torch.equal(run(Langevin(0.25, noise_scale=0.0), harmonic, x, 7, seeded())[0].x, expected)


def test_langevin_clamps_each_component() -> None:
    x = torch.tensor([[0.1, -3.0, 5.0]], dtype=torch.float64)
    state, _ = run(Langevin(1.0, noise_scale=0.0, clamp_grad=1.0), harmonic, x, 1, seeded())
    torch.testing.assert_close(state.x, torch.tensor([[0.0, -2.0, 4.0]], dtype=torch.float64))
    state, _ = run(Langevin(0.5, noise_scale=0.0, clamp_sample=1.0), harmonic, x, 1, seeded())
    torch.testing.assert_close(state.x, torch.tensor([[0.05, -1.0, 1.0]], dtype=torch.float64))
