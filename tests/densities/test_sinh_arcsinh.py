"""The monotone map of the marginals."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.densities.sinh_arcsinh import SinhArcsinh
from ebm_cli.densities.sinh_arcsinh_fit import fit_sinh_arcsinh
from tests.support import seeded


def bent() -> SinhArcsinh:
    """T of three coordinates: heavy and skewed, light, and the identity."""
    marginals = SinhArcsinh(3)
    parts = [[0.5, -1.0, 0.0], [2.0, 0.3, 1.0], [0.7, -0.4, 0.0], [0.6, 1.4, 1.0]]
    centre, scale, skew, tail = torch.tensor(parts, dtype=torch.float64)
    marginals.take(centre, scale, skew, tail, centre)
    return marginals


def points() -> Tensor:
    return 3 * torch.randn(30, 3, generator=seeded(), dtype=torch.float64)


def test_inverse_undoes_the_map_and_identity_is_kept() -> None:
    x, marginals = points(), bent()
    y, _ = marginals(x)
    torch.testing.assert_close(marginals.inverse(y), x)
    torch.testing.assert_close(y[:, 2], x[:, 2])
    assert (y - x)[:, :2].abs().min() > 1e-3


def test_derivatives_are_those_of_autograd() -> None:
    x, marginals = points().requires_grad_(), bent()
    bend = marginals.bend(x)
    (slope,) = torch.autograd.grad(bend.value.sum(), x, retain_graph=True)
    (first,) = torch.autograd.grad(bend.log_slope.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(bend.log_slope.exp(), slope)
    torch.testing.assert_close(bend.first, first)
    torch.testing.assert_close(bend.second, second)


def test_fit_finds_the_parameters_of_its_own_distribution() -> None:
    true = bent()
    z = torch.randn(50_000, 3, generator=seeded(), dtype=torch.float64)
    x = (true.inverse(z)[:, :1] - 0.5) / 2
    fit = fit_sinh_arcsinh(torch.cat((x, z[:, 1:2]), 1))
    assert fit is not None
    assert float(fit.tail[0]) == pytest.approx(0.6, abs=0.03)
    assert float(fit.skew[0]) == pytest.approx(0.7, abs=0.06)
    assert (float(fit.tail[1]), float(fit.skew[1])) == (1, 0), "a normal column gains nothing"


def test_normal_rows_are_not_transformed() -> None:
    assert fit_sinh_arcsinh(torch.randn(2000, 2, generator=seeded(), dtype=torch.float64)) is None


def test_tails_of_cauchy_rows_are_drawn_in() -> None:
    z = torch.randn(4000, 2, generator=seeded(), dtype=torch.float64)
    rows = z[:, :1] / z[:, 1:]
    fit = fit_sinh_arcsinh(rows)
    assert fit is not None
    y, log_slope = fit(rows)
    normal = -0.5 * (rows / rows.std()).square() - rows.std().log()
    assert float((log_slope - 0.5 * y.square() - normal).mean()) > 1
    assert math.isfinite(float(y.abs().max()))
