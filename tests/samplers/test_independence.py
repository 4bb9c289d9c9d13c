"""Jumps leave the target invariant, bring chains to every mode, and a wrong ratio does not."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.samplers import MALA, Info
from ebm_cli.samplers.independence import jump, jump_cost, trace_with_jumps
from tests.evaluation.toys import Bumps, BumpsDensity, FunctionEnergy, normal_density
from tests.support import harmonic, seeded

MODES = torch.tensor([[-5.0, 0.0], [5.0, 0.0]])
MODEL = Bumps(MODES, 1.0, torch.tensor([0.8, 0.2]))
REFERENCE = BumpsDensity(Bumps(MODES, 1.3, torch.tensor([0.4, 0.6])))


class Transposed(Density):
    """A density that reports the inverse of its own values: the ratio is turned around."""

    shape = (2,)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return REFERENCE.sample(n, rng)

    def log_prob(self, x: Tensor) -> Tensor:
        return -2 * MODEL(x) - REFERENCE.log_prob(x)


def right_share(density: Density, n_jumps: int = 40) -> float:
    """Share of 4,000 chains in the right mode, all of which begin in the left one."""
    x = MODES[0] + torch.randn(4000, 2, generator=seeded(1))
    draws, _, _ = trace_with_jumps(MALA(step_size=0.3), MODEL, density, x, n_jumps, 1, seeded(2))
    return float((draws[-1][:, 0] > 0).float().mean())


def test_chains_from_one_mode_find_the_weights_of_both() -> None:
    """0.2 within five standard errors; with the ratio turned around, or without jumps, it is something else."""
    bound = 5 * math.sqrt(0.2 * 0.8 / 4000)
    assert abs(right_share(REFERENCE) - 0.2) < bound
    assert abs(right_share(Transposed()) - 0.2) > bound
    assert right_share(normal_density(2, 0.01)) == 0.0


def test_jumps_leave_the_target_invariant() -> None:
    """Moments of chains that begin at exact draws of the target, at another temperature, too."""
    q = normal_density(2, 4.0)
    for temperature in (1.0, 2.0):
        x = math.sqrt(temperature) * torch.randn(20_000, 2, generator=seeded(3), dtype=torch.float64)
        for step in range(5):
            x, accept = jump(harmonic, q, x, seeded(step), temperature)
        assert float(accept.mean()) > 0.2
        second = x.square().mean(1)
        assert abs(float(second.mean()) - temperature) < 5 * float(second.std()) / math.sqrt(20_000)


def test_density_itself_is_always_accepted() -> None:
    q = normal_density(2)
    x, accept = jump(lambda u: 3.0 - q.log_prob(u), q, torch.zeros(100, 2, dtype=torch.float64), seeded())
    assert torch.allclose(accept, torch.ones_like(accept))
    assert bool((x != 0).all())


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_proposal_without_an_energy_is_rejected(value: float) -> None:
    x = torch.full((50, 2), -1.0)
    moved, accept = jump(lambda u: torch.where(u[:, 0] > -1, value, 0.0), normal_density(2, 0.01).float(), x, seeded())
    assert torch.equal(moved, x)
    assert float(accept.sum()) == 0.0


def test_trace_keeps_every_jump_and_counts_its_cost() -> None:
    energy, calls = FunctionEnergy(2, MODEL), 0

    def counted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += len(x)
        return energy(x)

    kernel, x = MALA(step_size=0.3), MODES[0].repeat(10, 1)
    seen: list[int] = []
    draws, info, accept = trace_with_jumps(kernel, counted, REFERENCE, x, 30, 10, seeded(), seen.append)
    assert (draws.shape, accept.shape, seen) == ((3, 10, 2), (10,), [10, 20, 30])
    assert isinstance(info, Info)
    assert 0.5 < float(info.accept.mean()) <= 1
    cost = jump_cost(kernel, 30, 10)
    assert calls == 10 * (cost.energy + cost.grad)


def test_steps_are_a_multiple_of_thin() -> None:
    with pytest.raises(ValueError, match="multiple of thin"):
        trace_with_jumps(MALA(), MODEL, REFERENCE, MODES, 5, 2, seeded())
