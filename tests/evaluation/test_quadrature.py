"""Adaptive quadrature against closed forms, its error estimate, and the energies that it refuses."""

import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_cli.energies.mlp import MLP
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.quadrature import Quadrature, integrate
from ebm_cli.evaluation.quadrature_grid import COARSE_GRID, FINE_GRID, Grid, Resolution
from tests.evaluation.toys import LOG_2PI, Bumps
from tests.support import normal, seeded


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def around_normal(dim: int, resolution: Resolution = FINE_GRID) -> Grid:
    return Grid.around(normal(5000, dim, seed=0), resolution)


def log_z(energy: Callable[[Tensor], Tensor], resolution: Resolution = FINE_GRID, dim: int = 2) -> float:
    return quadrature(energy, resolution, dim).log_z


def quadrature(energy: Callable[[Tensor], Tensor], resolution: Resolution = FINE_GRID, dim: int = 2) -> Quadrature:
    return integrate(energy, around_normal(dim, resolution), resolution, (dim,), torch.float64)


def log_z_inside(found: Quadrature, ring: int) -> float:
    """log of the integral over the box that ends with this ring: what a box of fixed size would report."""
    cells = found.grid.ring() <= ring
    return float(torch.logsumexp((found.grid.log_weights() - found.energy)[cells].flatten(), 0))


@pytest.mark.parametrize("resolution", [FINE_GRID, COARSE_GRID])
@pytest.mark.parametrize(("dim", "mean", "std"), [(1, 0.7, 0.3), (2, -0.4, 1.3), (2, 3.0, 0.05), (1, 40.0, 6.0)])
def test_log_z_of_a_gaussian_is_exact(resolution: Resolution, dim: int, mean: float, std: float) -> None:
    found = quadrature(lambda u: ((u - mean) ** 2).sum(1) / (2 * std**2), resolution, dim)
    assert found.log_z == pytest.approx(dim * (0.5 * LOG_2PI + math.log(std)), abs=1e-8)
    assert found.border_mass < 1e-6
    assert found.masses().sum().item() == pytest.approx(1, abs=1e-12)


def test_log_z_of_a_narrow_rotated_gaussian_is_exact() -> None:
    precision = torch.tensor([[1.0, 0.95 * 20], [0.95 * 20, 400.0]], dtype=torch.float64)
    rows = torch.linalg.solve(torch.linalg.cholesky(precision).T, normal(2, 5000, seed=0)).T
    grid = Grid.around(rows, FINE_GRID)
    found = integrate(lambda u: 0.5 * ((u @ precision) * u).sum(1), grid, FINE_GRID, (2,), torch.float64)
    assert found.log_z == pytest.approx(LOG_2PI - 0.5 * float(precision.logdet()), abs=1e-8)
    assert found.error < 1e-6


@pytest.mark.parametrize("width", [0.3, 0.1, 0.05, 0.02])
def test_error_estimate_bounds_the_error(width: float) -> None:
    energy = Bumps(torch.tensor([[0.3, -0.7], [-1.1, 0.4]]).double(), doubles(width, 2 * width), doubles(0.4, 0.6))
    for resolution in (FINE_GRID, COARSE_GRID, Resolution(core=12, shell=4, tolerance=1e-4, max_nodes=100_000)):
        found = quadrature(energy, resolution)
        assert abs(math.expm1(found.log_z)) < found.error + 1e-13


def test_peaks_narrower_than_the_cells_are_integrated() -> None:
    means = torch.rand(25, 2, generator=seeded(1)).double().mul(4).sub(2)
    for resolution in (FINE_GRID, COARSE_GRID):
        assert log_z(Bumps(means, 0.03), resolution) == pytest.approx(0, abs=1e-8)


def test_mass_far_from_the_data_is_found_across_an_empty_gap() -> None:
    energy = Bumps(torch.tensor([[0, 0], [30, 0]]).double(), doubles(1.0, 0.5), doubles(0.7, 0.3))
    found = quadrature(energy)
    assert found.log_z == pytest.approx(0, abs=1e-8)
    assert found.box > 30
    # The control: no mass lies at the border of the next two boxes, and a box widened until then would stop there.
    assert log_z_inside(found, 1) == pytest.approx(math.log(0.7), abs=1e-3)
    assert log_z_inside(found, 2) - log_z_inside(found, 1) < 1e-6


def test_a_hard_wall_is_integrated() -> None:
    found = log_z(lambda u: torch.where(u.abs().amax(1) < 1.0, 0.0, math.inf), dim=1)
    assert found == pytest.approx(math.log(2), abs=1e-6)


def test_a_float32_network_agrees_with_itself_in_float64() -> None:
    torch.manual_seed(0)
    network = MLP(shape=(2,), width=32).double()
    exact = integrate(network, around_normal(2), FINE_GRID, (2,)).log_z
    single = integrate(network.float(), around_normal(2), FINE_GRID, (2,)).log_z
    assert single == pytest.approx(exact, abs=1e-5)


def test_heaviest_nodes_hold_all_but_the_dropped_mass() -> None:
    found = quadrature(lambda u: 0.5 * u.square().sum(1))
    nodes, masses = found.heaviest(1e-3)
    assert 1 - 1e-3 - 1e-9 <= float(masses.sum()) < 1
    assert len(nodes) == len(masses) < found.energy.numel() / 2
    assert float(masses @ nodes.square().sum(1)) == pytest.approx(2, abs=0.03)


@pytest.mark.parametrize(
    ("energy", "reason"),
    [
        (lambda u: 0.0 * u[:, 0], "not integrable"),
        (lambda u: -u[:, 0].abs(), "not integrable"),
        (lambda u: u[:, 0].square(), "not integrable"),
        (lambda u: 1.5 * u.square().sum(1).add(1).log(), "not integrable"),
        (lambda u: u[:, 0].log(), "energy is nan"),
        (lambda u: u.square().sum(1) + torch.full_like(u[:, 0], math.inf), "infinite everywhere"),
        (lambda u: torch.where(u[:, 0] > 1, -math.inf, 0.0), "energy is -inf"),
    ],
)
def test_an_energy_without_log_z_is_refused(energy: Callable[[Tensor], Tensor], reason: str) -> None:
    with pytest.raises(NotIntegrable, match=reason):
        log_z(energy)


def test_the_refusal_names_the_box_beyond_which_mass_lies() -> None:
    """A flat energy's mass is volume: three quarters of the last box, ±2^n core, lie beyond the one before it."""
    grid = around_normal(2)
    reach = grid.core * 2 ** (grid.n_shells - 1)
    with pytest.raises(NotIntegrable, match=re.escape(f"0.75 of its mass lies beyond ±{reach:.3g}")):
        integrate(lambda u: 0.0 * u[:, 0], grid, FINE_GRID, (2,))
    assert 500 <= reach < 1000


def test_an_energy_that_the_nodes_do_not_resolve_is_refused() -> None:
    starved = Resolution(core=12, shell=4, tolerance=1e-6, max_nodes=20_000)
    with pytest.raises(NotIntegrable, match="not resolved"):
        log_z(Bumps(normal(100, 2, seed=1), 0.01), starved)


@pytest.mark.parametrize(("max_nodes", "is_resolved"), [(40_000, False), (80_000, True)])
def test_an_error_above_a_hundredth_is_refused(max_nodes: int, is_resolved: bool) -> None:
    """The same bumps, with an estimate of 0.44 and one of 0.0024."""
    energy = Bumps(normal(100, 2, seed=1), 0.05)
    resolution = Resolution(core=12, shell=4, tolerance=1e-6, max_nodes=max_nodes)
    if is_resolved:
        assert log_z(energy, resolution) == pytest.approx(0, abs=0.01)
    else:
        with pytest.raises(NotIntegrable, match=r"not resolved by \d+ nodes: relative error 0\.\d"):
            log_z(energy, resolution)
