"""Gradient and second directional derivatives of log-densities."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import CouplingFlow, Density, FittedMixture, Gaussian, Reference
from ebm_cli.densities.differentials import differentials_by_autograd
from tests.densities.support import bent_data, perturb, small_flow
from tests.support import seeded

CLOSED: dict[str, Callable[[], Density]] = {
    "gaussian": lambda: Gaussian(bent_data()),
    "mixture": lambda: FittedMixture(bent_data(), n_components=5),
    "reference": lambda: Reference(bent_data(), family="mixture"),
}


def points(n: int = 50) -> Tensor:
    """Points [n, 2] in and far outside the data."""
    return 3 * torch.randn(n, 2, generator=seeded(5), dtype=torch.float64)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("shared", [True, False])
def test_closed_form_is_what_autograd_finds(name: str, shared: bool) -> None:
    density, x = CLOSED[name](), points()
    v = torch.randn(3, 1 if shared else len(x), 2, generator=seeded(6), dtype=torch.float64)
    expected = differentials_by_autograd(density.log_prob, x, v)
    for found, by_autograd in zip(density.differentials(x, v), expected, strict=True):
        torch.testing.assert_close(found, by_autograd)
    assert density.differentials(x).second is None


def test_unit_directions_sum_to_the_laplacian() -> None:
    """∇² log N(x; 0, I) = −I: −D over the unit directions, and the gradient is −x."""
    for density in (FittedMixture(shape=(4,)), Reference(shape=(4,))):
        x = torch.randn(6, 4, generator=seeded())
        log_q, gradient, second = density.differentials(x, torch.eye(4).unsqueeze(1))
        torch.testing.assert_close(log_q, -0.5 * x.square().sum(1) - 2 * math.log(2 * math.pi))
        torch.testing.assert_close(gradient, -x)
        assert second is not None
        torch.testing.assert_close(second, torch.full((6,), -4.0))


def test_density_without_closed_form_is_differentiated() -> None:
    """A flow, against finite differences of its log-density."""
    flow, x, step = perturb(small_flow()), points(), 1e-4
    assert isinstance(flow, CouplingFlow)
    v = torch.tensor([[[0.6, -0.8]]], dtype=torch.float64)
    with torch.no_grad():
        log_q, gradient, second = flow.differentials(x, v)
        ahead, behind = flow.log_prob(x + step * v[0]), flow.log_prob(x - step * v[0])
    torch.testing.assert_close((gradient * v[0]).sum(1), (ahead - behind) / (2 * step), atol=1e-5, rtol=1e-5)
    assert second is not None
    torch.testing.assert_close(second, (ahead - 2 * log_q + behind) / step**2, atol=1e-4, rtol=1e-4)
    assert not any(part.requires_grad for part in (log_q, gradient, second))


@pytest.mark.parametrize("name", CLOSED)
def test_single_precision_keeps_the_curvature_far_out(name: str) -> None:
    """At a thousand standard deviations, where the gradients of components are huge and nearly alike."""
    density = CLOSED[name]()
    x, v = 1e3 * points(), torch.eye(2, dtype=torch.float64).unsqueeze(1)
    exact = density.differentials(x, v)
    single = density.float().differentials(x.float(), v.float())
    for found, expected in zip(single, exact, strict=True):
        torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-3)
