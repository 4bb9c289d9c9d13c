"""Score matching in whitened coordinates: its formula, its minimum, and its invariance to mixed columns."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ebm_cli.derivatives import supports
from ebm_cli.energies import MLP, Energy, Quadratic
from ebm_cli.methods import SM, SSM, whitening
from tests.support import seeded


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def collinear(n: int = 200) -> Tensor:
    """Rows whose covariance has a condition number of about 10⁴."""
    mix = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.01, 0.0], [0.2, 0.5, 0.3]])
    return torch.randn(n, 3, generator=seeded()) @ mix.T + torch.tensor([0.5, -1.0, 0.0])


def mlp() -> MLP:
    torch.manual_seed(0)
    return MLP((3,), width=16)


class Mixed(Energy):
    """f(A⁻¹ y): the energy of y = A x."""

    def __init__(self, energy: Energy, mix: Tensor) -> None:
        super().__init__()
        self.shape, self.energy, self.back = energy.shape, energy, torch.linalg.inv(mix)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.energy(x @ self.back.T)
        return value


def sm(data: Tensor, whiten: bool = True) -> SM:
    return SM(whiten, (3,), data)


def test_whitened_loss_is_its_formula() -> None:
    """½‖Lᵀ∇f‖² − tr(Lᵀ∇²f L) by autograd, with LLᵀ the covariance and its ridge."""
    energy, x = mlp(), collinear()
    factor = torch.linalg.cholesky(x.T.cov(correction=0) + whitening.RIDGE * torch.eye(3))
    rows = []
    for row in x:
        grad = torch.autograd.functional.jacobian(lambda y: energy(y[None])[0], row)
        hessian = torch.autograd.functional.hessian(lambda y: energy(y[None])[0], row)
        rows.append(0.5 * (factor.T @ grad).square().sum() - torch.trace(factor.T @ hessian @ factor))
    torch.testing.assert_close(sm(x).loss(energy, x, seeded()).loss, torch.stack(rows).mean(), rtol=1e-10, atol=1e-10)


def test_whitened_loss_is_invariant_to_mixed_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of f on x equals that of f∘A⁻¹ on Ax; without whitening (the control) it does not."""
    monkeypatch.setattr(whitening, "RIDGE", 0.0)
    energy, x = mlp(), collinear()
    mix = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.3, 1.0], [1.0, 0.0, 1.0]])
    y = x @ mix.T
    for whiten, same in ((True, True), (False, False)):
        before = float(sm(x, whiten).loss(energy, x, seeded()).loss.detach())
        after = float(sm(y, whiten).loss(Mixed(energy, mix), y, seeded()).loss.detach())
        assert (abs(after - before) < 1e-9 * abs(before)) is same


def test_whitened_minimum_is_mean_and_precision() -> None:
    """On Gaussian data the gradient vanishes at the mean and inverse covariance, and not at the identity."""
    x = collinear()
    covariance = x.T.cov(correction=0)
    sizes = []
    for precision in (torch.linalg.inv(covariance), torch.eye(3)):
        energy = Quadratic((3,))
        with torch.no_grad():
            energy.mean.copy_(x.mean(0))
            energy.raw_precision.copy_(precision)
        loss = sm(x).loss(energy, x, seeded()).loss
        sizes.append(max(float(g.abs().max()) for g in torch.autograd.grad(loss, list(energy.parameters()))))
    assert sizes[0] < 1e-7 < 1e-2 < sizes[1]


def test_whitened_ssm_is_unbiased_and_has_derivative_rules() -> None:
    energy, x = mlp(), collinear(4)
    method = SSM(n_projections=4000, whiten=True, shape=(3,), data=collinear())
    losses = torch.stack([method.loss(energy, x, seeded(i)).loss.detach() for i in range(20)])
    exact = float(sm(collinear()).loss(energy, x, seeded()).loss.detach())
    assert abs(float(losses.mean()) - exact) < 5 * float(losses.std()) / 20**0.5 + 1e-12
    assert method.whitening is not None
    assert supports(method.whitening.transform(energy, x)[0])


def test_whitened_loss_is_finite_for_a_constant_column() -> None:
    x = torch.cat((collinear(), torch.ones(200, 1)), 1)
    torch.manual_seed(0)
    loss = SM(True, (4,), x).loss(MLP((4,), width=8), x, seeded()).loss
    assert bool(loss.isfinite())


def test_whitening_refuses_images() -> None:
    with pytest.raises(ValueError, match=r"whiten must be false for points of shape \[1, 8, 8\]"):
        SSM(whiten=True, shape=(1, 8, 8), data=torch.zeros(5, 1, 8, 8))
