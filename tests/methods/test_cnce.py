"""Conditional noise contrastive estimation: its formula, its limit, its invariance and its minimum."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.energies.given import Given
from ebm_cli.methods import CNCE
from ebm_cli.methods.cnce import FAR_COPIES
from tests.methods.toys import correlated, gaussian_energy, mlp
from tests.support import normal, seeded


def test_cnce_loss_is_its_formula() -> None:
    """Three copies: two of their own, and the mirror image of the first."""
    x, energy = correlated()[:50, :2], mlp()
    xi = torch.randn((2, 50, 2), generator=seeded(4), dtype=torch.float64)
    copies = [x + 0.7 * xi[0], x + 0.7 * xi[1], x - 0.7 * xi[0]]
    expected = torch.stack([2 * F.softplus(energy(x) - energy(at)) for at in copies]).mean()
    out = CNCE(eps=0.7, n_copies=3).loss(energy, x, seeded(4))
    torch.testing.assert_close(out.loss, expected)
    assert out.evaluations.energy == 4


def test_cnce_does_not_change_with_a_constant() -> None:
    x, energy = correlated()[:50, :2], mlp()
    raised = Given(lambda at: energy(at) + 7.0, (2,))
    losses = [float(CNCE().loss(f, x, seeded(4)).loss.detach()) for f in (energy, raised)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)


@pytest.mark.parametrize(("scale", "limit"), [(1.0, -2.5), (0.5, -1.875)])
def test_small_copies_have_the_loss_of_score_matching(scale: float, limit: float) -> None:
    """(L − 2 log 2)/(ε²/2) → ½ D s² − D s for data N(0, I) in D = 5 and the precision s."""
    x, eps = normal(40_000, 5), 0.1
    energy = gaussian_energy(scale * torch.eye(5).double(), torch.zeros(5).double())

    def scaled(n_copies: int) -> Tensor:
        losses = [CNCE(eps=eps, n_copies=n_copies).loss(energy, x, seeded(i)).loss.detach() for i in range(2, 7)]
        return (torch.stack(losses) - 2 * math.log(2)) / (eps**2 / 2)

    pairs = scaled(2)
    assert float(pairs.mean()) == pytest.approx(limit, abs=0.05)
    # Without mirror images most of the variance is that of the odd terms.
    assert float(scaled(1).std()) > 5 * float(pairs.std())


@pytest.mark.parametrize("least", [None, 0.1])
def test_cnce_is_minimal_at_the_data(least: float | None) -> None:
    """The slope in the precision is within five standard errors of 0 at the truth alone, at one scale or many."""
    x = normal(200_000, 1)

    def slope(precision: float) -> Tensor:
        energy = gaussian_energy(torch.full((1, 1), precision).double(), torch.zeros(1).double())
        loss = CNCE(eps=1.5, eps_least=least).loss(energy, x, seeded(3)).loss
        return torch.autograd.grad(loss, energy.raw_precision)[0]

    # The standard deviation of a row's slope is at most 2.5.
    assert abs(float(slope(1.0))) < 5 * 2.5 / 200_000**0.5
    assert float(slope(2.0)) > 0.05
    assert float(slope(0.5)) < -0.05


def test_scales_of_copies_lie_between_their_ends() -> None:
    """log ε is uniform on [log eps_least, log eps], one ε for all coordinates of a copy."""
    seen: list[Tensor] = []

    def spy(at: Tensor) -> Tensor:
        seen.append(at)
        return at.square().sum(1)

    CNCE(eps=2.0, eps_least=0.02).loss(Given(spy, (400,)), torch.zeros(5000, 400).double(), seeded())
    scales = seen[0][5000:].square().mean(1).sqrt()
    assert 0.016 < float(scales.min()) < 0.022
    assert 1.8 < float(scales.max()) < 2.4
    assert float(scales.log().mean()) == pytest.approx(math.log(0.2), abs=0.1)


def test_copies_that_are_always_told_show_the_symptom() -> None:
    energy = gaussian_energy(1e9 * torch.eye(1).double(), torch.zeros(1).double())
    far = CNCE(eps=1e4).loss(energy, torch.zeros(100, 1).double(), seeded())
    assert FAR_COPIES.detect(far.loss.detach())
    assert float(far.metrics["accuracy"]) == 1
    near = CNCE().loss(gaussian_energy(torch.eye(1).double(), torch.zeros(1).double()), normal(100, 1), seeded())
    assert not FAR_COPIES.detect(near.loss.detach())
