"""Hamiltonian Monte Carlo: its trajectory and acceptance ratio. Exactness is in test_invariance.py."""

import math
from itertools import pairwise

import pytest
import torch
from scipy import stats
from torch import Tensor

from ebm_cli.derivatives import value_and_grad
from ebm_cli.samplers import adapt, run
from ebm_cli.samplers import hmc as hmc_module
from ebm_cli.samplers.hmc import HMC
from ebm_cli.selftest.invariance import harmonic
from tests.samplers.targets import BANANA, GAUSSIAN, deviation_of_variance, recorded_ratio
from tests.support import normal, seeded


def test_hmc_proposes_the_end_of_a_reversible_trajectory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The acceptance ratio is that of the total energies at both ends."""
    eps, n, temperature = 0.2, 5, 1.7
    x, y, log_ratio = recorded_ratio(HMC(eps, temperature, n, jitter=0), hmc_module, BANANA, monkeypatch)

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
        float(recorded_ratio(HMC(1.6 / n, n_leapfrog=n, jitter=0), hmc_module, GAUSSIAN, monkeypatch)[2].abs().mean())
        for n in (8, 16, 32)
    ]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2.0, abs=0.1)


LENGTHS = (2, 3, 10)
HALF_SWINGS = (0.5, 1, 1.05, 1.95, 2, 4)
"""Lengths of a trajectory on N(0, 1): 1 is half a swing, about eps L = π, and 2 a period, about 2 π."""
MAX_STEP = 1.7
"""The leapfrog is unstable from 2, which jitter must not reach."""


def grid() -> list[tuple[float, int, float]]:
    """(eps, L, m) at which L leapfrogs of a swing on N(0, 1) are m half periods: cos(π m/L) = 1 − eps²/2."""
    swings = [(m, n) for n in LENGTHS for m in HALF_SWINGS if m <= n]
    steps = [(2 * math.sin(math.pi * m / (2 * n)), n, m) for m, n in swings]
    return [step for step in steps if step[0] <= MAX_STEP]


def periods() -> list[tuple[float, int]]:
    """(eps, L) of the grid at which a trajectory ends where it began, or at the mirror image."""
    return [(eps, n) for eps, n, m in grid() if m == int(m)]


def second_moment_deviation(kernel: HMC) -> float:
    """Deviation of the mean of x² from 1 after 100 trajectories from x = 3 on N(0, I), in standard errors."""
    x, _ = run(kernel, harmonic, torch.full((1000, 2), 3.0, dtype=torch.float64), 100, seeded())
    return deviation_of_variance(x.x, 1.0)


@pytest.mark.parametrize(("eps", "n"), [*(step[:2] for step in grid()), (0.1, 10), (0.3, 5)])
def test_hmc_is_right_at_every_length_of_a_grid(eps: float, n: int) -> None:
    assert second_moment_deviation(HMC(eps, n_leapfrog=n)) < 5


@pytest.mark.parametrize(("eps", "n"), periods())
def test_control_without_jitter_hmc_freezes_on_a_period(eps: float, n: int) -> None:
    assert second_moment_deviation(HMC(eps, n_leapfrog=n, jitter=0)) > 100


def test_step_sizes_are_uniform_around_their_mean() -> None:
    """On a flat energy a trajectory is L eps v, and v is known."""
    kernel, n = HMC(0.5, n_leapfrog=4, jitter=0.3), 4000
    start = kernel.init(lambda x: 0 * x.sum(1), torch.zeros(n, 1, dtype=torch.float64), seeded())
    x = kernel.step(lambda x: 0 * x.sum(1), start, seeded())[0].x[:, 0]
    eps = x / (4 * torch.randn(n, generator=seeded(), dtype=torch.float64))
    assert stats.kstest(eps.numpy(), "uniform", (0.35, 0.3)).pvalue > 1e-3
    assert stats.kstest(eps.numpy(), "uniform", (0.37, 0.3)).pvalue < 1e-6
    assert len(eps.unique()) == n


@pytest.mark.parametrize("jitter", [-0.1, 1.0, math.nan])
def test_hmc_refuses_a_jitter_out_of_range(jitter: float) -> None:
    with pytest.raises(ValueError, match=r"^jitter must be in \[0, 1\), got "):
        HMC(jitter=jitter)


def test_burn_in_finds_the_acceptance_that_is_asked_for() -> None:
    found = {}
    for target in (0.65, 0.9):
        kernel, state = adapt(HMC(0.5, target_accept=target), harmonic, normal(50, 20), 150, seeded())
        found[target] = kernel.step_size
        assert float(run(kernel, harmonic, state, 20, seeded(1))[1].accept.mean()) == pytest.approx(target, abs=0.03)
    assert found[0.9] < 0.8 * found[0.65]
    with pytest.raises(ValueError, match=r"target_accept must be in \(0, 1\), got 1.0"):
        HMC(target_accept=1.0)


def test_one_leapfrog_step_is_enough_and_none_is_refused() -> None:
    assert HMC(n_leapfrog=1).evaluations(10).grad == 11
    with pytest.raises(ValueError, match="n_leapfrog must be >= 1, got 0"):
        HMC(n_leapfrog=0)
