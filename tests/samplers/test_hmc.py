"""Hamiltonian Monte Carlo: its trajectory and acceptance ratio. Exactness is in test_invariance.py."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ebm_cli.derivatives import value_and_grad
from ebm_cli.samplers import hmc as hmc_module
from ebm_cli.samplers.hmc import HMC
from tests.samplers.targets import BANANA, GAUSSIAN, recorded_ratio
from tests.support import seeded


def test_hmc_proposes_the_end_of_a_reversible_trajectory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The acceptance ratio is that of the total energies at both ends."""
    eps, n, temperature = 0.2, 5, 1.7
    x, y, log_ratio = recorded_ratio(HMC(eps, temperature, n), hmc_module, BANANA, monkeypatch)

    def trajectory(x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        for _ in range(n):
            v = v - 0.5 * eps * value_and_grad(BANANA.energy, x)[1]
            x = x + eps * v
            v = v - 0.5 * eps * value_and_grad(BANANA.energy, x)[1]
        return x, v

    v = math.sqrt(temperature) * torch.randn(x.shape, generator=seeded(), dtype=x.dtype)
    end, w = trajectory(x, v)
    torch.testing.assert_close(y, end, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(trajectory(end, -w)[0], x, rtol=1e-10, atol=1e-10)
    before, after = (BANANA.energy(a) + 0.5 * b.square().sum(1) for a, b in ((x, v), (end, w)))
    torch.testing.assert_close(log_ratio, (before - after) / temperature, rtol=1e-10, atol=1e-10)


def test_leapfrog_energy_error_is_of_second_order(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [
        float(recorded_ratio(HMC(1.6 / n, n_leapfrog=n), hmc_module, GAUSSIAN, monkeypatch)[2].abs().mean())
        for n in (8, 16, 32)
    ]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2.0, abs=0.1)


def test_one_leapfrog_step_is_enough_and_none_is_refused() -> None:
    assert HMC(n_leapfrog=1).evaluations(10).grad == 11
    with pytest.raises(ValueError, match="n_leapfrog must be >= 1, got 0"):
        HMC(n_leapfrog=0)
