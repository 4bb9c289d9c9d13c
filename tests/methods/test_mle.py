"""Maximum likelihood: log Z on the shifted grid, and the closed form of a Gaussian."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.energies import MLP, Energy, Quadratic
from ebm_cli.methods import MLE
from tests.methods.toys import correlated, gaussian_energy, gradient_size
from tests.support import seeded


class Opaque(Energy):
    """A Gaussian without a closed-form log Z."""

    def __init__(self, inner: Quadratic) -> None:
        super().__init__()
        self.inner, self.shape = inner, inner.shape

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


@pytest.mark.parametrize("size", [1, 2])
def test_mle_grid_gives_log_z_of_a_gaussian(size: int) -> None:
    energy = gaussian_energy(torch.diag(torch.linspace(1, 12, size).double()), torch.full((size,), 0.7).double())
    log_z = energy.log_z()
    assert log_z is not None
    out = MLE((size,), n_grid=64).loss(Opaque(energy), torch.zeros(4, size).double(), seeded())
    assert float(out.metrics["log_z"]) == pytest.approx(float(log_z.detach()), abs=1e-3)


def test_mle_grid_is_unbiased_for_a_narrow_peak() -> None:
    """The peak is narrower than the spacing of the grid."""
    energy = Opaque(gaussian_energy(torch.full((1, 1), 1 / 0.02**2).double(), torch.full((1,), 0.3).double()))
    truth = 0.5 * math.log(2 * math.pi * 0.02**2)
    method = MLE((1,), n_grid=64)
    z = torch.stack(
        [method.loss(energy, torch.zeros(1, 1).double(), seeded(i)).metrics["log_z"].exp() for i in range(4000)]
    )
    assert float(z.mean()) == pytest.approx(math.exp(truth), abs=5 * float(z.std()) / 4000**0.5)
    assert float(z.std()) > 0.05 * math.exp(truth)


def test_mle_grid_is_unbiased_for_mass_far_from_the_data() -> None:
    """Its distance is six standard deviations of the data; a box around the data would give 0."""
    energy = Opaque(gaussian_energy(torch.eye(1).double(), torch.full((1,), 6.0).double()))
    method = MLE((1,), n_grid=32)
    z = torch.stack(
        [method.loss(energy, torch.zeros(1, 1).double(), seeded(i)).metrics["log_z"].exp() for i in range(4000)]
    )
    assert float(z.mean()) == pytest.approx(math.sqrt(2 * math.pi), abs=5 * float(z.std()) / 4000**0.5)


def test_mle_finds_mean_and_precision_of_gaussian_data() -> None:
    x = correlated()
    covariance = torch.cov(x.T, correction=0)
    assert gradient_size(MLE((3,)), gaussian_energy(torch.linalg.inv(covariance), x.mean(0)), x) < 1e-10
    assert gradient_size(MLE((3,)), gaussian_energy(torch.eye(3).double(), x.mean(0)), x) > 1e-2


def test_mle_refuses_an_energy_without_log_z() -> None:
    with pytest.raises(ValueError, match=r"^energy MLP has no closed-form log Z"):
        MLE((3,)).validate(MLP((3,)), 8)
    MLE((3,)).validate(Quadratic((3,)), 8)
    MLE((2,)).validate(MLP((2,)), 8)
    MLE((1,)).validate(MLP((1,)), 8)
