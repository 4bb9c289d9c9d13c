"""Fields of a model in data units: positions on the mesh, densities that integrate to one, scores."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Gaussian, GaussianRing, Synthetic
from ebm_cli.energies import MLP
from ebm_cli.evaluation.surface import ARROWS, MESH, Interval, Surface, Window, data_density_at, density_of, energy_at

WINDOW = Window(Interval(1.0, 3.0), Interval(5.0, 3.0))


def standard_normal(u: Tensor) -> Tensor:
    return 0.5 * u.square().sum(1)


def test_mesh_is_row_by_row_from_the_lower_left() -> None:
    mesh = WINDOW.mesh(3)
    np.testing.assert_allclose(mesh[:4], [[-1, 3], [1, 3], [3, 3], [-1, 5]])
    assert (WINDOW.x.ticks(3).tolist(), WINDOW.y.ticks(3).tolist()) == ([-1, 1, 3], [3, 5, 7])


def test_window_around_points_ignores_outliers() -> None:
    points = np.concatenate([np.random.default_rng(0).uniform(-1, 1, (10_000, 2)), [[100.0, 0.0]]])
    window = Window.around(points)
    assert (window.x.centre, window.y.centre) == pytest.approx((0, 0), abs=0.01)
    assert (window.x.half, window.y.half) == pytest.approx((1.15, 1.15), abs=0.01)
    assert window.share_outside(points) == pytest.approx(1 / 10_001)


@pytest.mark.parametrize("unit", [1e-30, 1e-19, 1.0, 1e10, 1e30])
def test_window_has_the_units_of_its_points(unit: float) -> None:
    """Axes of one unit share a scale; of different units each has its own."""
    corners = np.array([[-1.0, -2.0], [1.0, 2.0]])
    alike = Window.around(corners * unit)
    assert (alike.x.half, alike.y.half) == pytest.approx((2.3 * unit, 2.3 * unit), rel=0.01)
    apart = Window.around(corners * [1.0, 3 * unit])
    assert (apart.x.half, apart.y.half) == pytest.approx((1.15, 6.9 * unit), rel=0.01)


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([5.0, 5.0, 5.0], (4.5, 5.5)),
        ([-1e-19], (-1.1e-19, -0.9e-19)),
        ([0.0, 0.0], (-1.0, 1.0)),
        ([np.nan, np.inf], (-1.0, 1.0)),
        ([np.nan, 1.0, 3.0, -np.inf], (2 - 1.15, 2 + 1.15)),
        ([0.0] * 5000 + [8.0], (4 - 4.6, 4 + 4.6)),
        ([-3e38, 3e38], (-3.45e38, 3.45e38)),
    ],
    ids=["constant", "one small value", "zeros", "none finite", "some finite", "rare", "largest of float32"],
)
def test_interval_around_any_values_has_a_width(values: list[float], ends: tuple[float, float]) -> None:
    assert Interval.around(np.array(values)).ends == pytest.approx(ends, rel=1e-2)


def test_interval_shows_all_values_but_an_outlier() -> None:
    low, high = Interval.around(np.array([*np.linspace(-1, 1, 80), 1e9])).ends
    assert -2 < low < -1
    assert 1 < high < 12


def test_density_of_the_true_energy_is_that_of_the_data() -> None:
    data = Synthetic(GaussianRing())

    def truth(u: Tensor) -> Tensor:
        return -data.density.log_prob(data.standardizer.inverse(u)) - data.standardizer.log_det + 3.0

    window = Window(Interval(0.0, 5.0), Interval(0.0, 5.0))
    surface = Surface(truth, data, window, -3.0)
    assert surface.density is not None
    assert surface.data_density is not None
    np.testing.assert_allclose(surface.density, surface.data_density, rtol=1e-4, atol=1e-7)
    assert float(surface.density.sum()) * (2 * window.x.half / MESH) ** 2 == pytest.approx(1, abs=0.001)
    assert surface.peak == surface.data_density.max()


def test_rows_of_a_field_are_the_second_coordinate() -> None:
    data = Synthetic(Gaussian(2, [0.0, 5.0], [[1.0, 0.0], [0.0, 1.0]]))
    surface = Surface(standard_normal, data, Window(Interval(0.0, 4.0), Interval(4.0, 4.0)), None)
    for field in (surface.data_density, -surface.energy):
        assert field is not None
        row, column = np.unravel_index(np.argmax(field), field.shape)
        x, y = surface.window.x.ticks(MESH), surface.window.y.ticks(MESH)
        assert (x[column], y[row]) == pytest.approx((0, 5), abs=0.1)


def test_score_is_minus_the_gradient_in_data_units() -> None:
    data = Synthetic(Gaussian(2, [1.0, 5.0], [[4.0, 0.0], [0.0, 9.0]]))
    surface = Surface(standard_normal, data, WINDOW, None)
    x = WINDOW.mesh(ARROWS).numpy()
    np.testing.assert_allclose(surface.score, -(x - [1.0, 5.0]) / [4.0, 9.0], atol=0.03)


def test_surface_without_log_z_has_no_density() -> None:
    class Unknown:
        """A data set of two dimensions without a density."""

        def __init__(self) -> None:
            real = Synthetic(Gaussian(2))
            self.standardizer, self.shape, self.density = real.standardizer, real.shape, None

    data: Any = Unknown()
    surface = Surface(MLP(shape=(2,), width=8), data, WINDOW, None)
    assert surface.density is None
    assert surface.data_density is None
    assert surface.peak == 1.0


def test_density_of_a_line_is_in_data_units() -> None:
    data = Synthetic(Gaussian(1, [2.0], [[9.0]]))
    x = torch.linspace(-7, 11, 50, dtype=torch.float64)
    density = density_of(energy_at(standard_normal, data, x), data, 0.5 * math.log(2 * math.pi))
    np.testing.assert_allclose(density, data_density_at(data, x), atol=0.002)
