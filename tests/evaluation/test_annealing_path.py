"""The path from a base to a model: its ends, its gradient, what it stores of the chains, and its coordinates."""

import math

import pytest
import torch

from ebm_cli.densities.gaussian import Gaussian as FittedGaussian
from ebm_cli.derivatives import first_order, value_and_grad
from ebm_cli.energies.mlp import MLP
from ebm_cli.evaluation.annealing_path import AnnealingPath, Points
from ebm_cli.samplers import EnergyFn, Kernel
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from tests.evaluation.toys import normal_density, skewed_gaussian
from tests.support import seeded


def test_path_starts_at_the_base_and_ends_at_the_model() -> None:
    for fade in (0.01, math.inf):
        path = AnnealingPath(skewed_gaussian(), normal_density(3), fade)
        assert path.exponents(0.0) == (1, 0)
        assert path.exponents(1.0) == (0, 1)
    assert AnnealingPath(skewed_gaussian(), normal_density(3), 0.01).exponents(0.01)[0] == pytest.approx(0.99 / 2)
    assert AnnealingPath(skewed_gaussian(), normal_density(3), math.inf).exponents(0.3) == (0.7, 0.3)


@pytest.mark.parametrize("energy", [MLP((2, 3)), lambda x: x.flatten(1).square().sum(1).sin()])
def test_path_gradient_is_that_of_its_formula(energy: EnergyFn) -> None:
    base = FittedGaussian(torch.randn(100, 2, 3, generator=seeded()))
    path = AnnealingPath(energy, base, 0.01)
    path.level = 0.3
    a, c = path.exponents(0.3)
    x = torch.randn(5, 2, 3, generator=seeded(1)).requires_grad_()
    expected = c * energy(x) - a * base.log_prob(x)
    value, grad = value_and_grad(path, x)
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(grad, torch.autograd.grad(expected.sum(), x)[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(path(x.detach()), value)


@pytest.mark.parametrize("kernel", [MALA(0.4), HMC(0.5, n_leapfrog=3), Metropolis(0.8)])
def test_path_stores_the_energies_of_the_moved_chains(kernel: Kernel) -> None:
    path = AnnealingPath(skewed_gaussian(), normal_density(3), 0.01)
    with_grad = kernel.evaluations(1).grad > 0
    points = path.evaluate(torch.randn(100, 3, generator=seeded()), with_grad=with_grad)
    for b in (0.01, 0.3, 1.0):
        path.level = b
        before = points
        points, accept = path.move(kernel, points, seeded(1))
        stayed = (points.x == before.x).all(1)
        assert stayed.any()
        assert not stayed.all()
        assert (~stayed).double().mean().item() == pytest.approx(accept.mean().item(), abs=0.2)
        for stored, fresh in zip(points, path.evaluate(points.x, with_grad=with_grad), strict=True):
            assert (stored is None) == (fresh is None) == (not with_grad and stored is None)
            if stored is not None:
                torch.testing.assert_close(stored, fresh)


def test_path_stores_all_chains_of_a_gradient_in_chunks() -> None:
    """Gradients of many points are taken in chunks; the path must store the parts of all chunks."""
    n = first_order.MAX_ROWS + 3
    path = AnnealingPath(MLP((3,), width=8), normal_density(3), 0.01)
    path.level = 0.3
    points = path.evaluate(torch.randn(n, 3, generator=seeded()), with_grad=True)
    moved, accept = path.move(MALA(0.05), points, seeded(1))
    assert moved.x.shape == (n, 3)
    assert bool((accept > 0.5).any())
    again = path.evaluate(moved.x, with_grad=True)
    torch.testing.assert_close(moved.f, again.f)


def test_energy_change_is_the_difference_and_costs_nothing() -> None:
    path = AnnealingPath(skewed_gaussian(), normal_density(3), 0.01)
    points = path.evaluate(torch.randn(7, 3, generator=seeded()), with_grad=True)
    path.level = 0.2
    low = path(points.x)
    change = path.energy_change(points, 0.7)
    spent = path.evaluations
    path.level = 0.7
    torch.testing.assert_close((path(points.x) - low).double(), change, atol=1e-5, rtol=1e-5)
    assert spent == 14


def test_path_is_finite_where_an_infinite_energy_has_no_weight() -> None:
    path = AnnealingPath(lambda x: x[:, 0] * math.inf, normal_density(1), 0.01)
    points = path.evaluate(torch.ones(2, 1), with_grad=False)
    assert path(points.x).isfinite().all()
    assert (path.energy_change(points, 0.1) == math.inf).all()


def test_points_stay_together_where_they_are_selected() -> None:
    x = torch.arange(6.0).view(3, 2)
    points = Points(x, x.sum(1), x * 2, x.prod(1), None).take(torch.tensor([2, 2, 0]))
    assert points.x.tolist() == [[4, 5], [4, 5], [0, 1]]
    assert points.f.tolist() == [9, 9, 1]
    assert points.u_grad is None
