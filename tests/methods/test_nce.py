"""Noise contrastive estimation against its formula and its asymptotic error."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Gaussian, Uniform
from ebm_cli.energies import Energy
from ebm_cli.methods import NCE
from tests.methods.toys import correlated, gaussian_energy, minimise, mlp
from tests.support import seeded


@pytest.mark.parametrize("nu", [0.5, 1.0, 2.0])
def test_nce_loss_is_its_formula(nu: float) -> None:
    x, energy = correlated()[:100, :2], mlp()
    noise = Gaussian(x)
    method = NCE(noise, nu=nu, log_z=0.3).double()
    out = method.loss(energy, x, seeded(4))
    y, _ = noise.sample_with_log_prob(round(100 * nu), seeded(4))

    def h(points: Tensor) -> Tensor:
        return -energy(points) - 0.3 - noise.log_prob(points) - math.log(nu)

    expected = -torch.sigmoid(h(x)).log().mean() - nu * (1 - torch.sigmoid(h(y))).log().mean()
    torch.testing.assert_close(out.loss, expected)
    assert out.evaluations.energy == 1 + nu


@pytest.mark.parametrize("nu", [1.0, 3.0])
def test_nce_loss_at_the_noise_is_its_upper_bound(nu: float) -> None:
    """With p_θ = q the classifier cannot tell: L = log(1 + ν) + ν log(1 + 1/ν), whatever the data are."""
    x = torch.randn(5000, 2, generator=seeded(), dtype=torch.float64)
    noise = Gaussian(x)
    energy = gaussian_energy(torch.linalg.inv(noise.factor @ noise.factor.T), noise.mean)
    log_z = energy.log_z()
    assert log_z is not None
    method = NCE(noise, nu=nu, log_z=float(log_z.detach())).double()
    out = method.loss(energy, x, seeded(1))
    assert float(out.loss.detach()) == pytest.approx(math.log(1 + nu) + nu * math.log(1 + 1 / nu), rel=1e-9)


def test_nce_stays_finite_with_noise_that_misses_the_data() -> None:
    x = correlated()[:100, :2]
    method = NCE(Uniform(x - 100.0)).double()
    out = method.loss(mlp(), x, seeded())
    # log q = −∞ at the data: they are certainly data, which costs nothing.
    assert torch.isfinite(out.loss)


def test_nce_without_redraw_keeps_one_sample_of_noise() -> None:
    """The loss on the same rows is the same number in every step, before and after a checkpoint."""
    x, energy = correlated(), mlp(shape=(3,))

    def losses(method: NCE, g: torch.Generator) -> list[float]:
        return [float(method.loss(energy, x, g).loss.detach()) for _ in range(2)]

    def prepare(seed: int, redraw: bool) -> NCE:
        method = NCE(Gaussian(x), redraw=redraw).double()
        method.prepare(x, seeded(seed))
        return method

    fresh, again = losses(prepare(1, redraw=True), seeded(2))
    assert fresh != again
    kept = prepare(1, redraw=False)
    first, second = losses(kept, seeded(2))
    assert first == second
    resumed = NCE(Gaussian(x), redraw=False).double()
    resumed.load_state_dict(kept.state_dict())
    assert losses(resumed, seeded(3)) == [first, first]
    assert losses(prepare(4, redraw=False), seeded(2))[0] != first


def standard_normal(size: int) -> Gaussian:
    noise = Gaussian(torch.randn(100, size, dtype=torch.float64, generator=seeded()))
    noise.mean.zero_()
    noise.factor.copy_(torch.eye(size))
    noise.whiten.copy_(torch.eye(size))
    noise.log_norm.fill_(-0.5 * size * math.log(2 * math.pi))
    return noise


@pytest.mark.slow
@pytest.mark.parametrize(("nu", "level"), [(1.0, 57.9), (10.0, 29.5)])
def test_nce_has_its_asymptotic_error(nu: float, level: float) -> None:
    """Gutmann & Hyvärinen (2012), Theorem 3: n·MSE of 15 precision entries and log Z on a 5-D Gaussian."""
    n, repeats = 10_000, 120
    basis = torch.linalg.qr(torch.randn(5, 5, generator=seeded(3), dtype=torch.float64)).Q
    covariance = basis @ torch.diag(torch.linspace(0.5, 2, 5, dtype=torch.float64)) @ basis.T
    truth = torch.linalg.inv(covariance)
    log_z = 0.5 * (5 * math.log(2 * math.pi) + float(torch.logdet(covariance)))
    noise = standard_normal(5)
    rows, cols = torch.triu_indices(5, 5)
    errors = []
    for repeat in range(repeats):
        g = seeded(100 + repeat)
        x = torch.randn(n, 5, generator=g, dtype=torch.float64) @ torch.linalg.cholesky(covariance).T
        energy = gaussian_energy(truth.clone(), torch.zeros(5).double())
        energy.mean.requires_grad_(False)
        method = NCE(noise, nu=nu, log_z=log_z).double()
        state = g.get_state()

        def loss(energy: Energy = energy, method: NCE = method, x: Tensor = x, state: Tensor = state) -> Tensor:
            return method.loss(energy, x, torch.Generator().set_state(state)).loss

        minimise([energy.raw_precision, method.log_z], loss)
        miss = (energy.precision.detach() - truth)[rows, cols].square().sum() + (method.log_z.detach() - log_z) ** 2
        errors.append(n * float(miss))
    mean = sum(errors) / repeats
    assert mean == pytest.approx(level, rel=0.15)
