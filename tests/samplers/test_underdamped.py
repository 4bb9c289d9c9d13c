"""Underdamped Langevin dynamics (BAOAB) on a Gaussian: positions are exact, velocities have a known bias."""

import math

import torch
from torch import Tensor

from ebm_cli.samplers import run
from ebm_cli.samplers.underdamped import Underdamped
from ebm_cli.selftest.invariance import harmonic
from tests.samplers.targets import SIGMAS, deviation_of_variance
from tests.support import normal, seeded


def test_baoab_has_exact_positions_and_known_velocities() -> None:
    eps, var, temperature = 1.0, 0.8, 1.5
    kernel = Underdamped(eps, temperature, friction=1.0)
    state, _ = run(kernel, lambda x: harmonic(x) / var, math.sqrt(var * temperature) * normal(200_000, 1), 40, seeded())
    velocity = state.aux["velocity"]
    assert deviation_of_variance(state.x, var * temperature) < SIGMAS
    assert deviation_of_variance(velocity, temperature * (1 - eps**2 / (4 * var))) < SIGMAS
    assert deviation_of_variance(velocity, temperature) > SIGMAS
    assert abs(float((state.x * velocity).mean())) < SIGMAS * math.sqrt(var) * temperature / math.sqrt(200_000)


def test_control_another_order_of_the_same_parts_is_biased() -> None:
    """OBABO: the same three maps in another order have x's variance σ²T/(1 − eps²/(4σ²))."""
    eps, var, rng = 1.0, 0.8, seeded()
    decay = math.exp(-0.5 * eps)
    x, v = math.sqrt(var) * normal(200_000, 1), normal(200_000, 1, seed=2)

    def heat(v: Tensor) -> Tensor:
        return decay * v + math.sqrt(1 - decay**2) * torch.randn(v.shape, generator=rng, dtype=v.dtype)

    for _ in range(40):
        v = heat(v) - 0.5 * eps * x / var
        x = x + eps * v
        v = heat(v - 0.5 * eps * x / var)
    assert deviation_of_variance(x, var) > SIGMAS
    assert deviation_of_variance(x, var / (1 - eps**2 / (4 * var))) < SIGMAS


def test_baoab_is_unstable_from_twice_the_standard_deviation() -> None:
    assert Underdamped(1.99).stationary_variance(1.0) == 1.0
    assert Underdamped(2.0).stationary_variance(1.0) == math.inf
