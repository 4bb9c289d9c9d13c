"""The monotone spline, and the flow in one dimension that it makes."""

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import CouplingFlow, FittedMixture, Gaussian
from ebm_cli.densities.spline import Spline
from ebm_cli.methods.fit_density import fit_density
from tests.densities.support import perturb
from tests.support import seeded


def spline(n_bins: int = 12) -> Spline:
    made = Spline(n_bins, bound=3.0).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded(2), dtype=parameter.dtype))
    return made


def line(low: float, high: float, n: int) -> Tensor:
    return torch.linspace(low, high, n, dtype=torch.float64).unsqueeze(1)


def two_modes(n: int = 4000) -> Tensor:
    """Rows [n, 1]: 0.85 N(1, 0.1²) + 0.15 N(−2, 0.2²)."""
    first = torch.rand(n, 1, generator=seeded(), dtype=torch.float64) < 0.85
    z = torch.randn(n, 1, generator=seeded(1), dtype=torch.float64)
    return torch.where(first, 1 + 0.1 * z, -2 + 0.2 * z)


def test_spline_starts_as_the_identity_with_slope_1() -> None:
    x = line(-5, 5, 301)
    moved, log_slope = Spline(8).double()(x)
    torch.testing.assert_close(moved, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-12)


def test_spline_increases_and_is_the_identity_beyond_its_bound() -> None:
    x = line(-5, 5, 2001)
    moved, _ = spline()(x)
    assert (moved.diff(dim=0) > 0).all()
    outside = x.abs() >= 3
    assert torch.equal(moved[outside], x[outside])
    assert float((moved - x).detach().abs().max()) > 0.2


def test_spline_inverts_itself_and_its_slope() -> None:
    x = line(-5, 5, 1001)
    moved, there = spline()(x)
    back, again = spline()(moved, inverse=True)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(again, -there, rtol=0, atol=1e-9)


def test_slope_of_the_spline_is_its_derivative() -> None:
    x = line(-4, 4, 333).requires_grad_()
    moved, log_slope = spline()(x)
    (slope,) = torch.autograd.grad(moved.sum(), x)
    torch.testing.assert_close(log_slope.exp(), slope, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_bins", [1, 12])
def test_flow_in_one_dimension_integrates_to_1(n_bins: int) -> None:
    flow, x = perturb(CouplingFlow((1,), width=n_bins).double()), line(-12, 12, 200_001)
    with torch.no_grad():
        mass = float(flow.log_prob(x).exp().sum() * (x[1] - x[0]))
    assert mass == pytest.approx(1, abs=1e-7)


def test_flow_in_one_dimension_samples_its_density() -> None:
    """Shares of samples below five places are those of the integral, within five standard errors."""
    flow, x = perturb(CouplingFlow((1,), width=6).double()), line(-12, 12, 20_001)
    with torch.no_grad():
        below = (flow.log_prob(x).exp() * (x[1] - x[0])).cumsum(0)
        drawn = flow.sample(20_000, seeded(3))
    for place in (-1.5, -0.5, 0.0, 0.5, 1.5):
        expected = float(below[int((place + 12) / 24 * 20_000)])
        error = 5 * (expected * (1 - expected) / 20_000) ** 0.5
        assert float((drawn <= place).double().mean()) == pytest.approx(expected, abs=error)


@pytest.mark.slow
def test_fitted_spline_tears_the_normal_into_two_modes() -> None:
    """Within 0.03 nats of the mixture that the rows are from, where the Gaussian is 1 nat away."""
    data, flow = two_modes(), CouplingFlow((1,)).double()
    fit_density(flow, data, 1500, seeded())
    with torch.no_grad():
        mixture, gaussian, own = (
            float(q.log_prob(data).mean()) for q in (FittedMixture(data, 2, 1e-6), Gaussian(data), flow)
        )
    assert own == pytest.approx(mixture, abs=0.03)
    assert gaussian < mixture - 1
