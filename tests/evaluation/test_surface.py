"""Fields of a model in data units: densities that integrate to one, scores, and which coordinate a row is."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Gaussian, GaussianRing, Synthetic
from ebm_cli.energies import MLP
from ebm_cli.evaluation.surface import ARROWS, MESH, Surface, data_density_at, density_of, energy_at
from ebm_cli.evaluation.window import Interval, Window

WINDOW = Window(Interval(1.0, 3.0), Interval(5.0, 3.0))


def standard_normal(u: Tensor) -> Tensor:
    return 0.5 * u.square().sum(1)


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
