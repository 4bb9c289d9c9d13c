"""The energy of independent components."""

import math

import pytest
import torch

from ebm_cli import energies
from ebm_cli.datasets import ICA
from ebm_cli.derivatives import supports
from tests.energies.moments import moment_deviations
from tests.support import assert_same_derivatives, autograd_only, normal, seeded

pytestmark = pytest.mark.usefixtures("float64")


def ica() -> energies.ICA:
    torch.manual_seed(0)
    return energies.ICA((4,))


def test_ica_derivative_rules_equal_autograd() -> None:
    energy = ica()
    assert supports(energy)
    assert_same_derivatives(energy, autograd_only(energy), normal(6, 4), normal(3, 6, 4, seed=3))


def test_ica_samples_are_exact() -> None:
    energy = ica()
    x = energy.sample(100_000, seeded(9))
    assert x.shape == (100_000, 4)
    assert (moment_deviations(energy, x) < 5).all()
    # Control: points that are 5 % too wide.
    assert (moment_deviations(energy, 1.05 * x) > 5).any()


def test_ica_with_the_true_matrix_is_the_density_of_the_data() -> None:
    density, energy = ICA(dim=10), energies.ICA((10,))
    with torch.no_grad():
        energy.weight.copy_(density.unmixing)
    x = density.sample(50, seeded(5))
    torch.testing.assert_close(-energy(x) - energy.log_z(), density.log_prob(x))


def test_ica_log_z_is_differentiable() -> None:
    energy = energies.ICA((3,))
    (grad,) = torch.autograd.grad(energy.log_z(), energy.weight)
    torch.testing.assert_close(grad, -torch.linalg.inv(energy.weight).T)


def test_ica_starts_as_a_scaled_random_rotation() -> None:
    """It gives the sources of standardised data the variance π²/3 of the logistic."""
    torch.manual_seed(1)
    first, second = energies.ICA((6,)).weight, energies.ICA((6,)).weight
    for weight in (first, second):
        torch.testing.assert_close(weight @ weight.T, math.pi**2 / 3 * torch.eye(6))
    assert (first - second).abs().max() > 0.1
