"""Score matching against its formula and the closed form of a Gaussian."""

import pytest
import torch

from ebm_cli.derivatives import laplacian
from ebm_cli.energies import MLP
from ebm_cli.methods import SM, SSM, Method
from tests.methods.toys import correlated, gaussian_energy, gradient_size, minimise, mlp
from tests.support import seeded


def test_sm_finds_mean_and_precision_of_gaussian_data() -> None:
    """Hyvärinen (2005), section 3.1: the minimum is at μ = mean and P = S⁻¹, and an optimizer finds it."""
    x = correlated()
    mean, precision = x.mean(0), torch.linalg.inv(torch.cov(x.T, correction=0))
    assert gradient_size(SM(), gaussian_energy(precision, mean), x) < 1e-12
    assert gradient_size(SM(), gaussian_energy(torch.eye(3).double(), mean), x) > 1e-2
    energy = gaussian_energy(torch.eye(3).double(), torch.zeros(3).double())
    minimise(energy.parameters(), lambda: SM().loss(energy, x, seeded()).loss)
    torch.testing.assert_close(energy.mean.detach(), mean, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(energy.precision.detach(), precision, rtol=1e-6, atol=1e-7)


def test_sm_loss_is_its_formula() -> None:
    energy, x = mlp(), correlated()[:50, :2]
    grad, trace = laplacian(energy, x)
    rows = 0.5 * grad.square().sum(1) - trace
    out = SM().loss(energy, x, seeded())
    torch.testing.assert_close(out.loss, rows.mean())
    torch.testing.assert_close(out.metrics["loss_se"], rows.std().detach() / 50**0.5)
    assert SM().loss(energy, x[:1], seeded()).metrics["loss_se"] == 0


@pytest.mark.parametrize("method", [SM(), SSM()], ids=["sm", "ssm"])
def test_score_matching_refuses_piecewise_linear_energies(method: Method) -> None:
    with pytest.raises(ValueError, match="energy has a ReLU activation: its Hessian is zero"):
        method.validate(MLP((2,), activation="relu"), 8)
    method.validate(MLP((2,)), 8)
