"""The self-normalised and the ranking objective of nce: gaps, limits and light tails."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Gaussian, Uniform
from ebm_cli.energies import MLP, Quadratic
from ebm_cli.energies.given import Given
from ebm_cli.methods import NCE
from ebm_cli.methods.noise_likelihoods import FEW_WEIGHTS
from ebm_cli.methods.noise_tails import has_light_tails
from tests.methods.toys import gaussian_energy, mlp
from tests.support import normal, seeded


def quantiles(n: int) -> Tensor:
    """Rows [n, 1] at the quantiles of N(0, 1), of variance 1."""
    x = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None]
    return x / x.square().mean().sqrt()


def noise_of(variance: float, dim: int = 1) -> Gaussian:
    """N(0, variance · I), exactly."""
    x = quantiles(1000).expand(1000, dim)
    noise = Gaussian(x, widen=variance**0.5, ridge=1e-12)
    scale = variance**0.5 * torch.eye(dim).double()
    noise.mean.zero_()
    noise.factor.copy_(scale)
    noise.whiten.copy_(torch.linalg.inv(scale))
    noise.log_norm.fill_(-0.5 * dim * math.log(2 * math.pi * variance))
    return noise


def energy_of(variance: float) -> Quadratic:
    return gaussian_energy(torch.full((1, 1), 1 / variance).double(), torch.zeros(1).double())


@pytest.mark.parametrize(("delta", "gap"), [(0.0, 0.0), (0.5, 0.148721), (-0.7, 0.196585)])
def test_gap_of_self_normalised_is_its_closed_form(delta: float, gap: float) -> None:
    """NLL + e^δ − 1 − δ, δ = log Z − b: with the noise of the model's own shape, without sampling error."""
    noise, x = noise_of(2.0), quantiles(1000)
    log_z = 0.5 * math.log(4 * math.pi)
    nll = -float(noise.log_prob(x).mean())
    loss = NCE(noise, objective="self_normalised", log_z=log_z - delta).double().loss(energy_of(2.0), x, seeded()).loss
    assert float(loss.detach()) - nll == pytest.approx(gap, abs=1e-6)


def test_self_normalised_log_z_is_trained_to_log_z() -> None:
    """The slope in b is 1 − e^{log Z − b}: 0 at log Z, within the error of the integral."""
    noise, x = noise_of(4.0), quantiles(50_000)
    log_z = 0.5 * math.log(2 * math.pi)

    def slope(b: float) -> float:
        method = NCE(noise, objective="self_normalised", log_z=b).double()
        return float(torch.autograd.grad(method.loss(energy_of(1.0), x, seeded()).loss, method.log_z)[0])

    # The weights have a standard deviation of 0.56: five standard errors of their mean.
    assert slope(log_z) == pytest.approx(0, abs=5 * 0.56 / 50_000**0.5)
    assert slope(log_z - 0.5) == pytest.approx(1 - math.exp(0.5), abs=0.03)


@pytest.mark.parametrize(("k", "value"), [(1, -0.1191), (16, -0.2090), (256, -0.2204)])
def test_ranking_approaches_the_likelihood(k: int, value: float) -> None:
    """L_K − log(K + 1) → NLL + E_data log q = −0.2216 for data N(0, 1), the model N(0, 2) and noise N(0, 4)."""
    x = quantiles(512_000 // (k + 15))
    loss = NCE(noise_of(4.0), nu=k, objective="ranking").double().loss(energy_of(2.0), x, seeded()).loss
    # The standard deviation of a row's term, at most 0.5, over 5 standard errors.
    assert float(loss.detach()) - math.log(k + 1) == pytest.approx(value, abs=5 * 0.5 / len(x) ** 0.5)


def test_ranking_trains_no_log_z_and_sees_no_constant() -> None:
    noise, x, energy = noise_of(4.0, 2), normal(200, 2), mlp()
    method = NCE(noise, nu=2, objective="ranking").double()
    raised = Given(lambda at: energy(at) + 7.0, (2,))
    found = [float(method.loss(f, x, seeded()).loss.detach()) for f in (energy, raised)]
    assert found[0] == pytest.approx(found[1], abs=1e-12)
    assert method.learned_log_z(energy) is None
    assert all(p is not method.log_z for p in method.players(energy)["energy"])


def test_share_of_the_noise_is_its_effective_size() -> None:
    """1 where the noise is the model; E[w]²/E[w²] = √(2 · 4 − 1)/4 for N(0, 1) under N(0, 4)."""
    x = quantiles(100_000)
    for variance, share in ((4.0, 1.0), (1.0, 7**0.5 / 4)):
        method = NCE(noise_of(4.0), objective="self_normalised").double()
        found = method.loss(energy_of(variance), x, seeded()).metrics["noise_share"]
        assert float(found) == pytest.approx(share, abs=0.01)


def test_weights_of_a_few_rows_show_the_symptom() -> None:
    """A model a hundred times narrower than its noise is met by one row in a hundred."""
    x = quantiles(1000)
    for scale, lost in ((1.0, False), (1e-3, True)):
        method = NCE(noise_of(1.0), objective="self_normalised").double()
        out = method.loss(energy_of(scale**2), scale * x, seeded())
        assert bool(FEW_WEIGHTS.detect(out.metrics["noise_share"])) is lost
        assert FEW_WEIGHTS in method.symptoms()


@pytest.mark.parametrize(
    ("variance", "precision", "light"),
    [(1.0, 0.4, True), (1.0, 0.6, False), (4.0, 0.2, False), (0.5, 0.9, True), (0.5, 1.1, False)],
)
def test_light_tails_are_those_without_a_variance(variance: float, precision: float, light: bool) -> None:
    """∫ e^{−2f}/q of two Gaussians is finite if 2 · precision > 1/variance of the noise."""
    energy = gaussian_energy(precision * torch.eye(3).double(), torch.zeros(3).double())
    assert has_light_tails(noise_of(variance, 3), energy) is light


def test_noise_in_a_box_has_the_lightest_tails() -> None:
    assert has_light_tails(Uniform(normal(100, 2)), mlp())


@pytest.mark.parametrize(
    ("objective", "widen", "said"),
    [
        ("self_normalised", 1.0, True),
        ("self_normalised", 2.0, False),
        ("logistic", 1.0, False),
        ("ranking", 1.0, False),
    ],
)
def test_run_says_where_weights_have_no_variance(objective: str, widen: float, said: bool) -> None:
    """A network with the base ½ · 0.2 ‖x‖² under the Gaussian of the data, and under one of twice its width."""
    method = NCE(Gaussian(normal(500, 2), widen=widen), objective=objective).double()  # type: ignore[arg-type]
    found = method.remark(MLP((2,), width=8).double())
    assert ("infinite variance" in (found or "")) is said


def gradients(objective: str, seeds: Sequence[int]) -> Tensor:
    """Gradient in the precision at the truth N(0, 1), one for each sample of noise."""
    noise, x, found = noise_of(2.0), quantiles(200), []
    for seed in seeds:
        energy = energy_of(1.0)
        method = NCE(noise, objective=objective, log_z=0.5 * math.log(math.tau)).double()  # type: ignore[arg-type]
        loss = method.loss(energy, x, seeded(seed)).loss
        found.append(torch.autograd.grad(loss, energy.raw_precision)[0].flatten())
    return torch.cat(found)


@pytest.mark.parametrize("objective", ["self_normalised", "ranking"])
def test_slope_vanishes_at_the_truth(objective: str) -> None:
    found = gradients(objective, range(100))
    assert abs(float(found.mean())) < 5 * float(found.std()) / 10 + 1e-3
