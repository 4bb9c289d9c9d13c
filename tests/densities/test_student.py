"""Mixtures of Student's t distributions."""

import pytest
import torch
from scipy import stats
from torch import Tensor

from ebm_cli.densities.differentials import differentials_by_autograd
from ebm_cli.densities.gamma import sample_gamma
from ebm_cli.densities.mixture import FittedMixture
from ebm_cli.densities.student import StudentMixture
from ebm_cli.densities.student_em import StudentFit, student_em
from tests.support import seeded


def two_tails() -> StudentMixture:
    """A mixture in the plane of a heavy-tailed and a normal component."""
    mixture = StudentMixture((2,)).double()
    weights, dof = torch.tensor([0.3, 0.7]), torch.tensor([3.0, torch.inf])
    means = torch.tensor([[-2.0, 0.0], [3.0, 1.0]])
    scatters = torch.tensor([[[1.0, 0.5], [0.5, 0.7]], [[0.5, -0.2], [-0.2, 0.3]]])
    mixture.set_components(*(part.double() for part in (weights, means, scatters, dof)), torch.empty(0).double())
    return mixture


def start_at(rows: Tensor, means: Tensor) -> StudentFit:
    """Equal unit components at `means`, ν = 10."""
    k, size = means.shape
    eye = torch.eye(size, dtype=rows.dtype).repeat(k, 1, 1)
    return StudentFit(torch.full((k,), 1 / k).double(), means, eye, torch.full((k,), 10.0).double(), [])


def test_density_is_that_of_scipy() -> None:
    mixture, x = two_tails(), 5 * torch.randn(50, 2, generator=seeded(), dtype=torch.float64)
    heavy = stats.multivariate_t(loc=[-2, 0], shape=[[1, 0.5], [0.5, 0.7]], df=3).pdf(x.numpy())
    normal = stats.multivariate_normal([3, 1], [[0.5, -0.2], [-0.2, 0.3]]).pdf(x.numpy())
    torch.testing.assert_close(mixture.log_prob(x).exp(), torch.from_numpy(0.3 * heavy + 0.7 * normal))


@pytest.mark.parametrize("dof", [1.5, 4.0, torch.inf])
def test_density_in_one_dimension_integrates_to_1(dof: float) -> None:
    mixture = StudentMixture((1,)).double()
    one = torch.ones(1, dtype=torch.float64)
    mixture.set_components(one, one.view(1, 1), 4 * one.view(1, 1, 1), dof * one, one)
    # x = sinh t reaches the tails: ∫ q dx = ∫ q cosh t dt.
    t = torch.linspace(-30, 30, 20_001, dtype=torch.float64)
    mass = torch.trapezoid(mixture.log_prob(t.sinh().unsqueeze(1)).exp() * t.cosh(), t)
    assert float(mass) == pytest.approx(1, abs=1e-8)


def test_differentials_are_those_of_autograd() -> None:
    mixture = two_tails()
    x = 6 * torch.randn(40, 2, generator=seeded(), dtype=torch.float64)
    v = torch.randn(3, 40, 2, generator=seeded(1), dtype=torch.float64)
    for found, expected in zip(
        mixture.differentials(x, v), differentials_by_autograd(mixture.log_prob, x, v), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_infinite_degrees_of_freedom_are_the_normal_mixture() -> None:
    mixture, normal = two_tails(), FittedMixture(shape=(2,)).double()
    mixture.set_components(
        mixture.weights, mixture.means, mixture.factors @ mixture.factors.mT, torch.full((2,), torch.inf), mixture.means
    )
    normal.set_components(mixture.weights, mixture.means, mixture.factors @ mixture.factors.mT, mixture.means)
    x = torch.randn(20, 2, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(mixture.log_prob(x), normal.log_prob(x))


@pytest.mark.parametrize("shape", [0.75, 2.0, 60.0])
def test_gamma_variates_have_their_distribution(shape: float) -> None:
    drawn = sample_gamma(torch.full((20_000,), shape, dtype=torch.float64), seeded())
    assert stats.kstest(drawn.numpy(), stats.gamma(shape).cdf).pvalue > 1e-3
    assert stats.kstest(drawn.numpy(), stats.gamma(1.05 * shape).cdf).pvalue < 1e-3, "a control"


def test_samples_have_the_distribution_of_the_component() -> None:
    x = two_tails().sample(40_000, seeded())
    share = 5 * (0.21 / 40_000) ** 0.5
    assert float((x[:, 0] < 0.7).double().mean()) == pytest.approx(0.3, abs=share + 0.02)
    left = x[x[:, 0] < -2, 0] + 2
    assert stats.kstest(-left.numpy(), lambda s: 2 * stats.t(3).cdf(s) - 1).pvalue > 1e-3
    assert stats.kstest(-left.numpy(), lambda s: 2 * stats.t(5).cdf(s) - 1).pvalue < 1e-3, "a control"


def test_em_never_lowers_the_likelihood() -> None:
    rows = two_tails().sample(1000, seeded())
    fit = student_em(rows, start_at(rows, rows[:3]), n_steps=60, tolerance=-1.0, ridge=0.0)
    gains = torch.tensor(fit.log_likelihoods).diff()
    assert len(gains) == 59
    assert gains.min() > -1e-9
    assert gains.sum() > 0.1


def test_em_finds_weights_and_degrees_of_freedom() -> None:
    rows = two_tails().sample(20_000, seeded())
    fit = student_em(rows, start_at(rows, torch.tensor([[-1.0, 0.0], [2.0, 0.0]]).double()), 200, tolerance=1e-8)
    torch.testing.assert_close(fit.weights, torch.tensor([0.3, 0.7]).double(), atol=0.02, rtol=0)
    assert float(fit.dof[0]) == pytest.approx(3, abs=0.5)
    assert float(fit.dof[1]) > 30
    torch.testing.assert_close(fit.means, two_tails().means, atol=0.1, rtol=0)
    torch.testing.assert_close(fit.scatters[1], torch.tensor([[0.5, -0.2], [-0.2, 0.3]]).double(), atol=0.03, rtol=0)


def test_state_of_any_number_of_components_is_loaded() -> None:
    mixture, empty = two_tails(), StudentMixture((2,)).double()
    empty.load_state_dict(mixture.state_dict())
    assert torch.equal(empty.sample(9, seeded()), mixture.sample(9, seeded()))
    x = torch.ones(1, 2, dtype=torch.float64)
    assert torch.equal(empty.log_prob(x), mixture.log_prob(x))


def test_state_of_a_normal_component_is_finite() -> None:
    """Numbers of a checkpoint are all finite, those of infinite degrees of freedom, too."""
    mixture = StudentMixture((2,))
    assert all(value.isfinite().all() for value in mixture.state_dict().values())
    assert mixture.dof.isinf().all()
