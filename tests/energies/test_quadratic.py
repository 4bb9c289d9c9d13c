"""The quadratic energy against its Gaussian."""

import math

import pytest
import torch

from ebm_cli.energies import Quadratic
from tests.support import seeded


def test_quadratic_log_z_normalises_its_gaussian() -> None:
    energy = Quadratic((3,)).double()
    precision = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.5, 0.2], [0.0, 0.2, 1.0]]).double()
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    with torch.no_grad():
        energy.raw_precision.copy_(precision)
        energy.mean.copy_(mean)
    x = torch.randn(10, 3).double()
    log_z = energy.log_z()
    assert log_z is not None
    truth = torch.distributions.MultivariateNormal(mean, precision_matrix=precision)
    torch.testing.assert_close(-energy(x) - log_z, truth.log_prob(x))


def test_quadratic_samples_are_exact() -> None:
    """Mean and covariance within 5 standard errors; the wrong triangle of the Cholesky factor would be 40 off."""
    energy = Quadratic((2,)).double()
    precision = torch.tensor([[2.0, 1.2], [1.2, 1.0]]).double()
    with torch.no_grad():
        energy.raw_precision.copy_(precision)
        energy.mean.copy_(torch.tensor([1.0, -2.0]))
    x = energy.sample(100_000, seeded())
    assert x is not None
    cov = torch.linalg.inv(precision)
    assert ((x.mean(0) - energy.mean.detach()).abs() < 5 * (cov.diagonal() / len(x)).sqrt()).all()
    outer = cov.diagonal().outer(cov.diagonal())
    assert ((torch.cov(x.T) - cov).abs() < 5 * ((outer + cov.square()) / len(x)).sqrt()).all()


def test_quadratic_has_no_log_z_for_indefinite_precision() -> None:
    energy = Quadratic((2,))
    with torch.no_grad():
        energy.raw_precision.copy_(torch.diag(torch.tensor([1.0, -0.1])))
    assert energy.log_z() is None
    assert energy.sample(3, torch.Generator()) is None


def test_quadratic_starts_as_the_standard_normal() -> None:
    energy = Quadratic((2,))
    log_z = energy.log_z()
    assert log_z is not None
    assert float(log_z.detach()) == pytest.approx(math.log(2 * math.pi))
