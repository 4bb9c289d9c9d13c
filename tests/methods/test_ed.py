"""Energy discrepancy against its closed form on Gaussians, its two limits and its bound."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.methods import ED
from ebm_cli.methods.ed import FAR_PERTURBATIONS
from tests.methods.toys import correlated, gaussian_energy, gradient_size, mlp
from tests.support import seeded


def discrepancy(v: float, s2: float, t: float) -> float:
    """ED_t of data N(0, v) and the model N(0, s²)."""
    return v / (2 * s2) - (v + t) / (2 * (s2 + t)) - 0.5 * math.log((s2 + t) / s2)


def rows(n: int, dim: int = 1) -> Tensor:
    return torch.randn(n, dim, generator=seeded(), dtype=torch.float64)


def normal_energy(s2: float) -> torch.nn.Module:
    return gaussian_energy(torch.full((1, 1), 1 / s2).double(), torch.zeros(1).double())


def test_closed_form_has_the_limits_of_the_method() -> None:
    """ED_t/t → ½ v/s⁴ − 1/s² as t → 0; differences of ED_t → those of the likelihood as t → ∞."""
    for t, value in ((0.1, -0.36300), (0.01, -0.37376), (0.001, -0.37488)):
        assert discrepancy(1, 2, t) / t == pytest.approx(value, abs=6e-6)
    apart = 0.5 * math.log(2) - 0.25
    assert discrepancy(1, 2, 1e6) - discrepancy(1, 1, 1e6) == pytest.approx(apart, abs=1e-5)


@pytest.mark.parametrize(("m", "value"), [(4, -0.3285), (64, -0.2895)])
def test_ed_loss_approaches_its_closed_form(m: int, value: float) -> None:
    """v = 1, s² = 2, t = 1: −0.2861 for M → ∞, and the known values of the biased estimator at two M, without w."""
    assert discrepancy(1, 2, 1) == pytest.approx(-0.2861, abs=5e-5)
    x = rows(20_000)
    x = x / x.square().mean().sqrt()
    found = ED(t=1.0, n_perturbations=m, w=0.0).loss(normal_energy(2.0), x, seeded(1)).loss
    # A row's term has a standard deviation of 0.5: 0.0035 is one standard error.
    assert float(found.detach()) == pytest.approx(value, abs=0.0175)


def test_many_perturbations_have_the_closed_form() -> None:
    """The weight w is an error of w/M inside the logarithm."""
    x = torch.linspace(0.5, 99.5, 100, dtype=torch.float64)[:, None] / 100
    x = torch.special.ndtri(x).repeat(10, 1)
    square = float(x.square().mean())
    found = ED(t=0.2, n_perturbations=500, w=1.0).loss(normal_energy(2.0), x, seeded(1)).loss
    assert float(found.detach()) == pytest.approx(discrepancy(square, 2.0, 0.2), abs=0.03)


def test_ed_loss_is_its_formula() -> None:
    """The mean of log(w/M + mean_j exp(f(x) − f(x'_j))), row by row."""
    x, energy, method = correlated()[:50, :2], mlp(), ED(t=0.3, n_perturbations=3, w=0.5)
    xi = torch.randn((4, 50, 2), generator=seeded(4), dtype=torch.float64)
    far = [energy(x + 0.3**0.5 * (xi[0] + xi[j])) for j in (1, 2, 3)]
    expected = (0.5 / 3 + sum((energy(x) - f).exp() for f in far) / 3).log().mean()
    out = method.loss(energy, x, seeded(4))
    torch.testing.assert_close(out.loss, expected)
    assert out.evaluations.energy == 4


def test_ed_is_minimal_at_the_data() -> None:
    """The slope in the precision vanishes at the truth, and not at a model of twice the variance."""
    x = rows(60_000)

    def slope(s2: float) -> float:
        energy = normal_energy(s2)
        loss = ED(t=1.0, n_perturbations=16).loss(energy, x, seeded(1)).loss
        return float(torch.autograd.grad(loss, energy.raw_precision)[0])

    # A finite M moves the minimum by a few per cent.
    assert abs(slope(1.0)) < 0.02
    assert slope(2.0) < -0.1


def test_whitened_ed_does_not_change_under_linear_maps() -> None:
    x = correlated()[:, :2]
    mix = torch.tensor([[3.0, 1.0], [0.0, 0.1]], dtype=torch.float64)
    precision = torch.linalg.inv(torch.cov(x.T))
    inverse = torch.linalg.inv(mix)

    def loss(at: Tensor, p: Tensor) -> float:
        method = ED(whiten=True, shape=(2,), data=at).double()
        return float(method.loss(gaussian_energy(p, at.mean(0)), at, seeded(2)).loss.detach())

    # The ridge of the covariance is the only difference.
    assert loss(x @ mix, inverse @ precision @ inverse.T) == pytest.approx(loss(x, precision), abs=2e-2)


def test_rows_beyond_every_perturbation_show_the_symptom() -> None:
    """The loss is at log(w/M), and nothing is left to learn; on a smooth energy it is far above."""
    x = rows(1000)
    lost = ED(t=1.0).loss(normal_energy(1e-9), torch.zeros(1000, 1).double(), seeded())
    assert float(lost.loss.detach()) == pytest.approx(math.log(1 / 4), abs=0.1)
    sound = ED(t=1.0).loss(normal_energy(1.0), x, seeded())
    assert not FAR_PERTURBATIONS.detect(sound.metrics["above_bound"])
    far = ED(t=1e6).loss(normal_energy(1e-9), torch.zeros(1000, 1).double(), seeded())
    assert FAR_PERTURBATIONS.detect(far.metrics["above_bound"])
    assert gradient_size(ED(t=1e6), normal_energy(1e-9), torch.zeros(100, 1).double()) < 1e-9


def test_ed_without_its_weight_has_no_bound_to_watch() -> None:
    method = ED(w=0.0)
    assert FAR_PERTURBATIONS not in method.symptoms()
    assert "above_bound" not in method.loss(normal_energy(1.0), rows(10), seeded()).metrics
