"""Sliced score matching: unbiased for score matching, and its random directions."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from ebm_cli.derivatives import directional
from ebm_cli.energies import MLP
from ebm_cli.energies.given import Given
from ebm_cli.methods import SM, SSM
from ebm_cli.methods.ssm import DRAW
from tests.methods.toys import correlated, gaussian_energy, mlp
from tests.support import seeded


@pytest.mark.parametrize(("k", "variance_reduction"), [(1, True), (1, False), (3, True), (3, False)])
def test_ssm_loss_is_its_formula(k: int, variance_reduction: bool) -> None:
    energy, x = mlp(shape=(3,)), correlated()[:50]
    out = SSM("rademacher", n_projections=k, variance_reduction=variance_reduction).loss(energy, x, seeded(3))
    v = DRAW["rademacher"]((k, *x.shape), x, seeded(3))
    (slopes, curvature), grad = directional(energy, x, v, with_gradient=True)
    assert grad is not None
    square = grad.square().sum(1) if variance_reduction else slopes.square().mean(0)
    rows = 0.5 * square - curvature / k
    torch.testing.assert_close(out.loss, rows.mean())
    expected = {
        "score_norm": square.mean(),
        "laplacian": (curvature / k).mean(),
        "loss_se": rows.std() / len(x) ** 0.5,
    }
    for name, value in expected.items():
        torch.testing.assert_close(out.metrics[name], value.detach())


@pytest.mark.parametrize("variance_reduction", [True, False])
def test_ssm_over_all_sign_vectors_is_sm(variance_reduction: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Rademacher v takes each of the 2^D sign vectors with equal probability: their mean is the exact loss."""
    energy, x = mlp(shape=(3,)), correlated()[:20]
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)), dtype=torch.float64)
    monkeypatch.setitem(DRAW, "rademacher", lambda shape, like, rng: signs[:, None, :].expand(8, len(x), 3))
    loss = SSM("rademacher", n_projections=8, variance_reduction=variance_reduction).loss(energy, x, seeded()).loss
    torch.testing.assert_close(loss, SM().loss(energy, x, seeded()).loss, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("projection", ["orthogonal", "rademacher", "gaussian", "sphere"])
@pytest.mark.parametrize("variance_reduction", [True, False])
def test_ssm_is_unbiased(projection: str, variance_reduction: bool) -> None:
    energy, x = mlp(shape=(3,)), correlated()[:4]
    method = SSM(projection=projection, n_projections=4000, variance_reduction=variance_reduction)  # type: ignore[arg-type]
    losses = torch.stack([method.loss(energy, x, seeded(i)).loss.detach() for i in range(20)])
    exact = SM().loss(energy, x, seeded()).loss.detach()
    # 20 independent means; 1e-12 for an estimator without any variance.
    assert abs(float(losses.mean() - exact)) < 5 * float(losses.std()) / 20**0.5 + 1e-12


def test_control_unscaled_sphere_projections_are_biased(monkeypatch: pytest.MonkeyPatch) -> None:
    energy, x = mlp(shape=(3,)), correlated()[:4]
    monkeypatch.setitem(
        DRAW, "sphere", lambda shape, like, rng: nn.functional.normalize(DRAW["gaussian"](shape, like, rng), dim=2)
    )
    method = SSM(projection="sphere", n_projections=4000)
    losses = torch.stack([method.loss(energy, x, seeded(i)).loss.detach() for i in range(20)])
    exact = SM().loss(energy, x, seeded()).loss.detach()
    assert abs(float(losses.mean() - exact)) > 5 * float(losses.std()) / 20**0.5


def test_ssm_variance_reduction_reduces_variance() -> None:
    energy, x = mlp(shape=(3,)), correlated()[:200]
    spread = {
        reduced: torch.stack(
            [
                SSM("rademacher", 1, variance_reduction=reduced).loss(energy, x, seeded(i)).loss.detach()
                for i in range(100)
            ]
        ).std()
        for reduced in (True, False)
    }
    assert spread[True] < spread[False]


def test_a_pair_in_the_plane_is_exact_score_matching() -> None:
    energy, x = mlp(shape=(2,)), correlated()[:50, :2]
    exact = SM().loss(energy, x, seeded()).loss.detach()
    torch.testing.assert_close(
        SSM("orthogonal", 2).loss(energy, x, seeded()).loss.detach(), exact, rtol=1e-12, atol=1e-12
    )
    independent = SSM("rademacher", 2).loss(energy, x, seeded()).loss.detach()
    assert abs(float(independent - exact)) > 1e-3 * abs(float(exact))


@pytest.mark.parametrize(("dim", "product"), [(1, 1), (2, 0), (5, 1), (8, 0)])
def test_orthogonal_directions_come_in_pairs(dim: int, product: int) -> None:
    v = DRAW["orthogonal"]((5, 20, dim), torch.zeros(1), seeded())
    assert v.shape == (5, 20, dim)
    assert v.abs().unique().tolist() == [1.0]
    assert (v[0::2][:2] * v[1::2]).sum(2).abs().unique().tolist() == [product]


def test_variance_of_a_pair_is_that_of_its_formula() -> None:
    dim, generator = 4, seeded()
    form = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    form = form + form.T

    def variance(name: str, k: int) -> float:
        """Variance of v'Hv, averaged over k directions; over 200 draws, because a draw has one h for all rows."""
        draws = [DRAW[name]((k, 200, dim), form, generator) for _ in range(200)]
        return float(torch.stack([torch.einsum("kni,ij,knj->kn", v, form, v).mean(0) for v in draws]).var())

    one = variance("rademacher", 1)
    assert variance("rademacher", 2) / one == pytest.approx(1 / 2, rel=0.05)
    assert variance("orthogonal", 2) / one == pytest.approx((dim - 2) / (2 * dim - 2), rel=0.05)


def fairness(signs: Tensor) -> float:
    """Largest z-score of the means at each of 32 places and of products of neighbours; small for fair coins."""
    rows = signs.view(-1, 32)
    means = [rows.mean(0), (rows * rows.roll(1, 1)).mean(0), (rows * rows.roll(1, 0)).mean(0)]
    return float(torch.stack(means).abs().max()) * len(rows) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_rows", [10, 2000])
def test_signs_have_the_dtype_of_the_points(n_rows: int, dtype: torch.dtype) -> None:
    v = DRAW["rademacher"]((1, n_rows, 7), torch.zeros(1, dtype=dtype), torch.Generator().manual_seed(0))
    assert v.dtype is dtype
    assert v.shape == (1, n_rows, 7)
    assert v.unique().tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("n_rows", [40, 30_000])
def test_signs_are_fair_coins(n_rows: int) -> None:
    """Few signs are drawn one by one, many as the bits of 32-bit numbers."""
    generator = seeded()
    calls = [DRAW["rademacher"]((4, n_rows, 8), torch.zeros(1), generator) for _ in range(320_000 // n_rows)]
    signs = torch.cat(calls, 1).flatten()
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    # 96 means: above 4.5 standard errors for one in 1,500 generators.
    assert fairness(signs) < 4.5
    # Control: a word without its highest bit gives a sign that never changes.
    stuck = signs.clone().view(-1, 32)
    stuck[:, 31] = -1
    assert fairness(stuck) > 100


def differences(eps: float, k: int = 1, projection: str = "orthogonal") -> SSM:
    return SSM(projection, n_projections=k, variance_reduction=False, estimator="finite_difference", eps=eps)  # type: ignore[arg-type]


@pytest.mark.parametrize("projection", ["orthogonal", "gaussian", "sphere"])
def test_differences_are_exact_for_quadratic_energies(projection: str) -> None:
    """At any step, whatever the directions: the same loss and terms as by derivatives along them."""
    x = correlated()[:50]
    energy = gaussian_energy(torch.linalg.inv(torch.cov(correlated().T)), x.mean(0))
    found = differences(1.7, 2, projection).loss(energy, x, seeded(3))
    exact = SSM(projection, 2, variance_reduction=False).loss(energy, x, seeded(3))  # type: ignore[arg-type]
    torch.testing.assert_close(found.loss, exact.loss, rtol=0, atol=1e-10)
    for name in ("score_norm", "laplacian", "loss_se"):
        torch.testing.assert_close(found.metrics[name], exact.metrics[name], rtol=0, atol=1e-10)
    assert found.evaluations == (5, 0, 0)


def test_bias_of_differences_is_of_second_order() -> None:
    """Halving the step quarters the error, of the loss and of its gradient in the parameters."""
    energy, x = mlp(shape=(3,)), correlated()[:50]

    # The last bias is a constant of the energy, which no loss of a score contains.
    trained = list(energy.parameters())[:-1]

    def terms(method: SSM) -> Tensor:
        loss = method.loss(energy, x, seeded(3)).loss
        return torch.cat([loss.detach()[None], *(g.flatten() for g in torch.autograd.grad(loss, trained))])

    exact = terms(SSM("orthogonal", 2, variance_reduction=False))
    errors = [float((terms(differences(eps, 2)) - exact).norm()) for eps in (0.02, 0.01)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


def test_rounding_of_float32_decides_below_the_least_step() -> None:
    """At ‖v‖ = 0.05 it costs a hundredth of the loss's standard error; a hundred times closer it is above it."""
    energy, x = mlp(shape=(3,)), correlated()[:500]
    scale = float(differences(0.05).loss(energy, x, seeded(3)).metrics["loss_se"])

    def error(eps: float) -> float:
        single = differences(eps).loss(energy.float(), x.float(), seeded(3)).loss
        double = differences(eps).loss(energy.double(), x.float().double(), seeded(3)).loss
        return abs(float(single.detach() - double.detach()))

    assert error(0.05) < 0.01 * scale
    assert error(0.0005) > scale


def test_differences_see_the_kinks_of_a_relu() -> None:
    """f = |x| on N(0, 1): the mean curvature at the scale of the step is 2 p(0) = 0.798; by derivatives it is 0."""
    x = torch.special.ndtri((torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000)[:, None]
    found = differences(0.05).loss(Given(lambda at: at.abs().sum(1), (1,)), x, seeded())
    assert float(found.metrics["laplacian"]) == pytest.approx(0.798, abs=2e-3)


def test_small_differences_in_float32_are_refused() -> None:
    differences(0.05).validate(mlp().float(), 8)
    differences(0.01).validate(mlp(), 8)
    with pytest.raises(ValueError, match=r"^method.eps must be >= 0.05 in float32"):
        differences(0.01).validate(mlp().float(), 8)


def test_relu_trains_by_differences_alone() -> None:
    energy = MLP((2,), width=8, activation="relu")
    differences(0.1).validate(energy, 8)
    with pytest.raises(ValueError, match="ReLU"):
        SSM().validate(energy, 8)
