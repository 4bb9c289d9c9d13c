"""The cells of a quadrature: they tile the box, and their rule is exact for the polynomials that it should be."""

import numpy as np
import pytest
import torch

from ebm_cli.evaluation.quadrature_grid import FINE_GRID, NODES, OUTER_REACH, Grid, Resolution, legendre_transform
from tests.support import normal

each_dimension = pytest.mark.parametrize("dim", [1, 2])


def around_normal(dim: int) -> Grid:
    return Grid.around(normal(5000, dim, seed=0), FINE_GRID)


@each_dimension
def test_weights_sum_to_the_volume_of_the_box(dim: int) -> None:
    grid = around_normal(dim)
    side = 2 * grid.core * 2**grid.n_shells
    assert grid.log_weights().exp().sum().item() == pytest.approx(side**dim, rel=1e-12)
    assert OUTER_REACH <= side / 2 < 2 * OUTER_REACH


@each_dimension
def test_core_covers_the_points(dim: int) -> None:
    points = normal(5000, dim, seed=0)
    grid = Grid.around(points, FINE_GRID)
    assert float((points - grid.origin).abs().max()) < grid.core


@each_dimension
def test_split_keeps_the_volume_and_the_ring(dim: int) -> None:
    grid = around_normal(dim)
    children = grid.split()
    torch.testing.assert_close(children.log_weights().exp().sum(), grid.log_weights().exp().sum())
    assert torch.equal(children.ring(), grid.ring().repeat_interleave(2**dim))


@each_dimension
def test_parts_of_a_grid_join_to_the_whole(dim: int) -> None:
    grid = around_normal(dim)
    inner = grid.ring() < 2
    joined = grid.take(inner).join(grid.take(~inner))
    torch.testing.assert_close(joined.log_weights().exp().sum(), grid.log_weights().exp().sum())
    assert torch.equal(joined.ring().sort().values, grid.ring().sort().values)


@each_dimension
def test_rule_is_exact_for_polynomials_of_degree_15(dim: int) -> None:
    grid = around_normal(dim)
    grid = grid.take(grid.ring() <= 2)
    grid = Grid(grid.centre - grid.origin, grid.half, grid.origin * 0, grid.core, grid.n_shells)
    u, w, half = grid.nodes(), grid.log_weights().exp(), 4 * grid.core
    for degree in (0, 2, 8, 14):
        moment = 2 * half ** (degree + 1) / (degree + 1)
        found = (w * (u**degree).prod(2)).sum().item()
        assert found == pytest.approx(moment**dim, rel=1e-12), degree
    odd = (w * u[..., 0] ** 15).sum().item()
    assert abs(odd) < 1e-12 * half**16 * (2 * half) ** (dim - 1)


@each_dimension
def test_rule_is_not_exact_for_degree_16(dim: int) -> None:
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dim, dtype=torch.float64)
    grid = Grid(zero, one, zero[0], 1.0, 1)
    found = (grid.log_weights().exp() * grid.nodes()[..., 0] ** 16).sum().item()
    assert abs(found - 2 / 17 * 2 ** (dim - 1)) > 1e-6


@pytest.mark.parametrize(
    "bad", [{"core": 0}, {"shell": 6}, {"shell": 0}, {"tolerance": 0.0}, {"tolerance": 1.0}, {"max_nodes": 0}]
)
def test_a_resolution_out_of_range_is_refused(bad: dict[str, float]) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=f"^{name} must be"):
        Resolution(**{"core": 12, "shell": 4, "tolerance": 1e-6, "max_nodes": 1000, **bad})  # type: ignore[arg-type]


def test_legendre_transform_finds_the_coefficients() -> None:
    """Each Legendre polynomial has one coefficient, 1, of its own degree."""
    x, _ = np.polynomial.legendre.leggauss(NODES)
    values = torch.from_numpy(np.polynomial.legendre.legvander(x, NODES - 1))
    torch.testing.assert_close(legendre_transform() @ values, torch.eye(NODES).double(), rtol=0, atol=1e-13)
