"""The divergence of the chain from the model, and its estimate of an entropy."""

import math

import pytest
import torch

from ebm_cli.densities import Gaussian
from ebm_cli.derivatives import value_and_grad
from ebm_cli.methods import CD
from ebm_cli.methods.chain_divergence import chain_divergence, entropy
from ebm_cli.samplers import Kernel
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.mala import MALA
from tests.methods.toys import correlated, mlp
from tests.support import seeded


def test_entropy_of_a_gaussian() -> None:
    """H(N(0, S)) = ½ log det(2πe S), within five standard errors of 40 samples; a wrong dimension is the control."""
    x = correlated()[:, :2] @ torch.tensor([[1.5, 0.3], [0.0, 0.4]]).double()
    exact = 0.5 * float(torch.logdet(2 * math.pi * math.e * x.T.cov()))
    estimates = torch.stack([entropy(part, part) for part in x.split(len(x) // 40)])
    error = float(estimates.std()) / len(estimates) ** 0.5
    assert abs(float(estimates.mean()) - exact) < 5 * error
    assert abs(float(estimates.mean()) / 2 - exact) > 20 * error


@pytest.mark.parametrize(("dim", "ball"), [(1, 2.0), (2, math.pi), (3, 4 / 3 * math.pi), (4, math.pi**2 / 2)])
def test_entropy_of_pairs_is_that_of_their_balls(dim: int, ball: float) -> None:
    """With all nearest neighbours at distance r: log of the n − 1 balls of radius r, plus Euler's constant."""
    x = torch.zeros(10, dim, dtype=torch.float64)
    x[:, 0] = torch.tensor([0, 0.7, 100, 100.7, 200, 200.7, 300, 300.7, 400, 400.7], dtype=x.dtype)
    assert float(entropy(x, x)) == pytest.approx(math.log(9 * ball * 0.7**dim) + 0.57721566490153, rel=1e-12)


def test_chain_divergence_differentiates_the_last_step() -> None:
    """∂/∂θ of E[f_θ⁻(x − ε∇f_θ(x) + √(2ε) z)] − H with θ⁻ fixed, against differences in a weight."""
    x, energy, fixed = correlated()[:16, :2], mlp(), mlp()
    eps, h = 0.05, 1e-5
    energy.load_state_dict(fixed.state_dict())
    weight = next(energy.parameters())
    (grad,) = torch.autograd.grad(chain_divergence(energy, x, eps, 1.0, seeded(3)), weight)

    def value(shift: float) -> float:
        with torch.no_grad():
            weight[0, 0] += shift
        z = torch.randn(x.shape, generator=seeded(3), dtype=x.dtype)
        moved = x - eps * value_and_grad(energy, x)[1] + math.sqrt(2 * eps) * z
        with torch.no_grad():
            weight[0, 0] -= shift
            return float(fixed(moved).mean() - entropy(moved, x))

    slope = (value(h) - value(-h)) / (2 * h)
    assert float(grad[0, 0]) == pytest.approx(slope, rel=1e-5)
    assert abs(slope) > 1e-4


def with_kl(sampler: Kernel, kl: float) -> CD:
    return CD((2,), sampler, Gaussian(correlated()[:32, :2]), k=2, kl=kl).double()


def test_cd_kl_adds_the_chain_divergence() -> None:
    x, energy = correlated()[:32, :2], mlp()
    plain, whole = (with_kl(MALA(step_size=0.05), kl).loss(energy, x, seeded(5)) for kl in (0.0, 0.5))
    term = whole.metrics["chain_divergence"]
    torch.testing.assert_close(whole.loss, plain.loss + 0.5 * term)
    assert torch.equal(whole.metrics["energy_gap"], plain.metrics["energy_gap"])
    assert (whole.evaluations.laplacian, plain.evaluations.laplacian) == (1, 0)
    assert (whole.evaluations.grad, whole.evaluations.energy) == (plain.evaluations.grad + 1, plain.evaluations.energy)
    with pytest.raises(ValueError, match=r"^kl must be 0 with HMC"):
        with_kl(HMC(), 0.1)
    with pytest.raises(ValueError, match=r"^batch_size must be >= 2 with method.kl"):
        with_kl(MALA(), 0.1).validate(energy, 1)
