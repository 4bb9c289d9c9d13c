"""The smooth monotone spline of the marginals, and its fit."""

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import FittedMixture
from ebm_cli.densities.monotone import Chain, Monotone
from ebm_cli.densities.sinh_arcsinh import SinhArcsinh
from ebm_cli.densities.slope_spline import SlopeSpline, slope_basis
from ebm_cli.densities.slope_spline_fit import SlopeSplineFit
from tests.support import seeded

N_FREE = 11


def knots() -> Tensor:
    """Knots of two coordinates [2, 13], unevenly spaced."""
    steps = 0.2 + torch.rand(2, 12, generator=seeded(), dtype=torch.float64)
    return torch.cat((torch.zeros(2, 1).double(), steps.cumsum(1)), 1) - 4


def bent(spread: float = 1.0) -> SlopeSpline:
    """A spline of two coordinates whose slopes spread over factors of exp(spread)."""
    slopes = (spread * torch.randn(2, N_FREE, generator=seeded(1), dtype=torch.float64)).exp()
    spline = SlopeSpline(2)
    spline.take(knots(), torch.einsum("dpkq,dk->dpq", slope_basis(knots()), slopes), knots())
    return spline


def chained() -> Chain:
    skewed = SinhArcsinh(2)
    skewed.take(*torch.tensor([[0.5, -1.0], [2.0, 0.3], [0.7, -0.4], [0.6, 1.4]]).double(), like=knots())
    return Chain([skewed, bent()])


def points() -> Tensor:
    """Points within the knots and beyond them [400, 2]."""
    return 4 * torch.randn(400, 2, generator=seeded(), dtype=torch.float64)


@pytest.mark.parametrize("marginals", [bent(), chained()])
def test_derivatives_are_those_of_autograd(marginals: Monotone) -> None:
    x = points().requires_grad_()
    bend = marginals.bend(x)
    (slope,) = torch.autograd.grad(bend.value.sum(), x, create_graph=True)
    (first,) = torch.autograd.grad(slope.log().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(bend.log_slope, slope.log())
    torch.testing.assert_close(bend.first, first)
    torch.testing.assert_close(bend.second, second)
    for found, expected in zip(marginals(x), bend, strict=False):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("marginals", [bent(), bent(3.0), chained()])
def test_inverse_undoes_the_map(marginals: Monotone) -> None:
    x = points()
    torch.testing.assert_close(marginals.inverse(marginals(x)[0]), x, atol=1e-6, rtol=1e-6)


def test_slope_and_its_derivatives_are_continuous_at_the_knots() -> None:
    """So that score matching may differentiate twice: a step of 1e-6 changes them by no more than that."""
    spline, at = bent(), knots().T
    below, above = spline.bend(at - 1e-6), spline.bend(at + 1e-6)
    for left, right in zip(below, above, strict=True):
        torch.testing.assert_close(left, right, atol=1e-3, rtol=1e-4)


def test_equal_slopes_are_the_identity() -> None:
    spline = SlopeSpline(2)
    pieces = torch.einsum("dpkq,dk->dpq", slope_basis(knots()), torch.ones(2, N_FREE).double())
    pieces[..., 0] += knots()[:, :1]
    spline.take(knots(), pieces, knots())
    torch.testing.assert_close(spline(points())[0], points())
    torch.testing.assert_close(SlopeSpline(2).double()(points())[0], points())


def test_rescaled_map_is_that_of_scaled_points() -> None:
    centre, scale = torch.tensor([3.0, -2.0]).double(), torch.tensor([5.0, 0.1]).double()
    for moved, still in ((bent(), bent()), (chained(), chained())):
        moved.rescale(centre, scale, knots())
        expected, log_slope = still(points())
        found, moved_slope = moved(centre + scale * points())
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(moved_slope, log_slope - scale.log())


def test_fit_gives_the_marginals_of_the_rows() -> None:
    """A gamma distribution under N(0, I): each tenth of a percent and each tenth of the rows is where it should be."""
    rows = torch.randn(20_000, 3, 2, generator=seeded(), dtype=torch.float64).square().sum(1) / 2
    normal = FittedMixture(shape=(2,)).double()
    spline = SlopeSplineFit(rows).fit(normal)
    z = spline(rows)[0]
    shares = torch.tensor([0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999]).double()
    expected = torch.special.ndtri(shares)
    mass = torch.stack([(z < at).double().mean(0) for at in expected])
    error = (shares * (1 - shares) / len(rows)).sqrt().unsqueeze(1)
    assert ((mass - shares.unsqueeze(1)).abs() < 5 * error).all()
    skewed = (rows - rows.mean(0)) / rows.std(0)
    off = torch.stack([(skewed < at).double().mean(0) for at in expected]) - shares.unsqueeze(1)
    assert (off.abs() > 5 * error).any(), "a control: moments alone do not do it"


def test_marginals_that_the_mixture_has_keep_a_line() -> None:
    rows = torch.randn(5000, 4, generator=seeded(), dtype=torch.float64)
    normal = FittedMixture(shape=(4,)).double()
    _, log_slope = SlopeSplineFit(rows).fit(normal)(torch.randn(1000, 4, generator=seeded(1), dtype=torch.float64))
    assert float(log_slope.square().mean().sqrt()) < 0.05
