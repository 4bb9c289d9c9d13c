"""Chains on conditional distributions and posteriors, against the closed forms of a Gaussian."""

import pytest
import torch
from torch import Tensor

from ebm_cli.derivatives import value_and_grad
from ebm_cli.samplers import Conditional, Kernel, posterior, run
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from tests.samplers import conditional_gaussian as gaussian
from tests.samplers.conditional_gaussian import COV, MEAN, conditional_moments, deviation, posterior_moments
from tests.samplers.targets import name_of
from tests.support import normal, seeded

N = 20_000
GIVEN = torch.tensor([3.0, 0.0, -1.0]).double()


def exact_samples(keep: Tensor, given: Tensor, rng: torch.Generator) -> Tensor:
    """N points of the conditional distribution: [N, 3]."""
    mean, cov = conditional_moments(keep, given)
    x = given.repeat(N, 1)
    z = torch.randn(N, int((~keep).sum()), generator=rng, dtype=torch.float64)
    x[:, ~keep] = mean + z @ torch.linalg.cholesky(cov).T
    return x


@pytest.mark.parametrize("kernel", [MALA(0.1), HMC(0.3, n_leapfrog=3), Metropolis(0.5)], ids=name_of)
@pytest.mark.parametrize("kept", [[True, False, False], [False, True, True]])
def test_kernels_leave_the_conditional_invariant(kernel: Kernel, kept: list[bool]) -> None:
    keep, rng = torch.tensor(kept), seeded()
    x = exact_samples(keep, GIVEN, rng)
    target = Conditional(gaussian.energy, x, keep.expand_as(x))
    state, info = run(kernel, target, target.coordinates(x), 10, rng)
    after = target.point(state.x)
    assert 0.1 < float(info.accept.mean()) < 0.999
    assert torch.equal(after[:, keep], GIVEN[keep].expand(N, -1))
    assert not torch.equal(after[:, ~keep], x[:, ~keep])
    assert deviation(after[:, ~keep], *conditional_moments(keep, GIVEN)) < 5
    # Control: the marginal distribution is another one.
    assert deviation(after[:, ~keep], MEAN[~keep], COV[~keep][:, ~keep]) > 50


def test_control_resetting_kept_coordinates_is_not_exact() -> None:
    """A chain of all coordinates whose kept ones are reset after each step leaves the conditional distribution."""
    keep, rng = torch.tensor([True, False, False]), seeded()
    x = exact_samples(keep, GIVEN, rng)
    for _ in range(10):
        x = torch.where(keep, GIVEN, run(MALA(0.4), gaussian.energy, x, 1, rng)[0].x)
    assert deviation(x[:, ~keep], *conditional_moments(keep, GIVEN)) > 10


def test_rows_may_keep_different_numbers_of_coordinates() -> None:
    """Each half of the chains has its own conditional distribution; unused places of z are N(0, 1)."""
    masks = torch.tensor([[True, True, False], [False, False, True]])
    given = torch.tensor([[3.0, 0.0, -1.0], [-2.0, 1.0, 2.0]]).double()
    rng = seeded()
    x = torch.cat([exact_samples(keep, row, rng) for keep, row in zip(masks, given, strict=True)])
    target = Conditional(gaussian.energy, x, masks.repeat_interleave(N, 0))
    z = target.coordinates(x)
    assert z.shape == (2 * N, 2)
    z[~target.free] = torch.randn(N, generator=rng, dtype=torch.float64)
    state, _ = run(HMC(0.3, n_leapfrog=3), target, z, 10, rng)
    for half, (keep, row) in enumerate(zip(masks, given, strict=True)):
        after = target.point(state.x)[half * N : (half + 1) * N]
        assert torch.equal(after[:, keep], row[keep].expand(N, -1))
        assert deviation(after[:, ~keep], *conditional_moments(keep, row)) < 5
    unused = state.x[~target.free].unsqueeze(1)
    assert deviation(unused, torch.zeros(1).double(), torch.eye(1).double()) < 5


def test_conditional_is_the_energy_at_the_completed_point() -> None:
    """Value and gradient, for points that are images, and the maps between z and x."""
    rng = seeded()
    x = torch.randn(4, 1, 2, 3, generator=rng).double()
    keep = torch.rand(4, 1, 2, 3, generator=rng) < 0.4
    keep[0] = False

    def energy(x: Tensor) -> Tensor:
        return (x.flatten(1) ** 4).sum(1) + x.flatten(1)[:, 0] * x.flatten(1)[:, 5]

    target = Conditional(energy, x, keep)
    z = target.coordinates(x)
    assert torch.equal(target.point(z), x)
    moved = target.point(z + 1)
    assert torch.equal(moved, torch.where(keep, x, x + 1))
    (value, grad), (_, full) = value_and_grad(target, z), value_and_grad(energy, x)
    assert torch.allclose(value, energy(x))
    assert torch.allclose(grad, target.coordinates(full))


def test_conditional_refuses_masks_that_do_not_fit() -> None:
    x = torch.zeros(3, 2)
    keep = torch.tensor([[True, False], [True, True], [False, False]])
    with pytest.raises(ValueError, match=r"^keep must leave a coordinate free, row 1 keeps all"):
        Conditional(gaussian.energy, x, keep)
    with pytest.raises(ValueError, match=r"^keep must have the shape \(3, 2\) of given, got \(2,\)"):
        Conditional(gaussian.energy, x, keep[0])


def test_kernel_leaves_the_posterior_of_a_noisy_point_invariant() -> None:
    std = torch.tensor([0.5, 1.0, 2.0]).double()
    mean, cov = posterior_moments(GIVEN, std)
    x = mean + normal(N, 3) @ torch.linalg.cholesky(cov).T
    kernel, rng = HMC(0.4, n_leapfrog=3), seeded()
    assert deviation(run(kernel, posterior(gaussian.energy, GIVEN, std), x, 10, rng)[0].x, mean, cov) < 5
    # Control: a noise that is a tenth too large.
    assert deviation(run(kernel, posterior(gaussian.energy, GIVEN, 1.1 * std), x, 10, rng)[0].x, mean, cov) > 5
