"""Chains that are stuck alone: they are freed by shorter steps, and the moments of a funnel become right."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.samplers import Kernel, adapt, free_stuck, is_stuck, run, trace, warm_up
from ebm_cli.samplers import stuck as stuck_module
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from tests.samplers.targets import name_of
from tests.support import harmonic, normal, seeded

VARIANCE = 2.25


def funnel(x: Tensor) -> Tensor:
    """Neal's funnel in five dimensions: v ~ N(0, 2.25), four coordinates N(0, e^v) given v = x_0."""
    v = x[:, 0]
    return v.square() / (2 * VARIANCE) + 0.5 * x[:, 1:].square().sum(1) * (-v).exp() + 2 * v


def share_and_moment(kernel: Kernel) -> tuple[float, float]:
    """Share of 400 chains from wide starts that never move after burn-in, and the mean of v over the draws."""
    kernel, state = warm_up(kernel, funnel, 2 * normal(400, 5), 200, seeded())
    draws, _ = trace(kernel, funnel, state.x, 200, 10, seeded(1))
    still = (draws == state.x).flatten(2).all(2).all(0)
    return float(still.double().mean()), float(draws[:, :, 0].mean())


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [MALA(), HMC(n_leapfrog=5)], ids=name_of)
def test_warm_up_frees_chains_in_the_neck_of_a_funnel(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    share, mean = share_and_moment(kernel)
    assert share < 0.02
    assert abs(mean) < 0.2
    # Control: without shorter steps they stay stuck, and v is far too low.
    monkeypatch.setattr(stuck_module, "FACTORS", ())
    stuck_share, wrong_mean = share_and_moment(kernel)
    assert stuck_share > 2 * max(share, 0.005)
    assert wrong_mean < mean - 0.05


def two_stuck() -> tuple[Tensor, Tensor]:
    """Positions and starts of six chains, of which two have not moved."""
    start = normal(6, 2)
    x = start + 1
    x[[1, 4]] = start[[1, 4]]
    return x, start


def test_only_stuck_chains_move() -> None:
    x, start = two_stuck()
    assert is_stuck(x, start).tolist() == [False, True, False, False, True, False]
    freed = free_stuck(MALA(0.5), harmonic, x, start, 40, seeded())
    assert (freed != x).all(1).tolist() == is_stuck(x, start).tolist()


@pytest.mark.parametrize(
    ("kernel", "n_steps", "chains"),
    [
        (MALA(0.5), 19, slice(None)),  # too few steps
        (MALA(0.5), 40, [0, 2, 3]),  # none stuck
        (MALA(0.5), 40, [1, 4]),  # all stuck
        (Langevin(0.5), 40, slice(None)),  # no correction
    ],
)
def test_nothing_is_drawn_where_nothing_is_to_be_done(kernel: Kernel, n_steps: int, chains: slice | list[int]) -> None:
    x, start = two_stuck()
    rng = seeded()
    before = rng.get_state()
    assert free_stuck(kernel, harmonic, x[chains], start[chains], n_steps, rng).equal(x[chains])
    assert torch.equal(rng.get_state(), before)


def test_a_detour_keeps_exact_samples_exact() -> None:
    """Also chains that only happen to have made no move are at the target afterwards."""
    x = normal(20_000, 2)
    start = x.clone()
    start[::2] += 1
    freed = free_stuck(MALA(0.8), harmonic, x, start, 100, seeded())
    moved = freed[1::2]
    assert not bool((moved == x[1::2]).all(1).any())
    assert abs(float(moved.square().mean()) - 1) < 5 * math.sqrt(2 / moved.numel())


def test_adapt_returns_the_state_of_the_freed_chains() -> None:
    start = normal(50, 2)
    start[7] = 1e3

    def walled(x: Tensor) -> Tensor:
        return harmonic(x) * (1 + 1e4 * (x[:, 0] > 10))

    kernel, state = adapt(MALA(), walled, start, 200, seeded())
    assert state.energy is not None
    torch.testing.assert_close(state.energy, walled(state.x))
    end, _ = run(kernel, walled, state.x, 100, seeded())
    assert float(end.x[7].abs().max()) < 10
