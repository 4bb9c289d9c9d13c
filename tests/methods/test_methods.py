"""Objectives: each equals its closed form where there is one."""

import copy
import itertools
import math
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

from ebm_cli.densities import CouplingFlow, Gaussian, Uniform
from ebm_cli.derivatives import directional, laplacian, value_and_grad
from ebm_cli.energies import MLP, Energy, Quadratic
from ebm_cli.methods import CD, DSM, FCE, MLE, NCE, SM, SSM, Method
from ebm_cli.methods.chain_divergence import chain_divergence, entropy
from ebm_cli.methods.logistic_loss import classify
from ebm_cli.methods.ssm import DRAW
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from tests.support import differences, seeded


def correlated(n: int = 2000) -> Tensor:
    mix = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.3, 0.2, 0.7]], dtype=torch.float64)
    return torch.randn(n, 3, generator=seeded(), dtype=torch.float64) @ mix.T + torch.tensor([1.0, -0.5, 0.2])


def gaussian_energy(precision: Tensor, mean: Tensor) -> Quadratic:
    energy = Quadratic(tuple(mean.shape)).to(precision.dtype)
    with torch.no_grad():
        energy.raw_precision.copy_(precision)
        energy.mean.copy_(mean)
    return energy


def mlp(seed: int = 0, shape: tuple[int, ...] = (2,)) -> MLP:
    torch.manual_seed(seed)
    return MLP(shape, width=16).double()


def gradient_size(method: Method, energy: Energy, x: Tensor) -> float:
    parameters = list(energy.parameters())
    grads = torch.autograd.grad(method.loss(energy, x, seeded()).loss, parameters)
    return max(float(g.abs().max()) for g in grads)


# --- score matching ---------------------------------------------------------------------------------------------------


def test_sm_on_gaussian_data_gives_mean_and_inverse_covariance() -> None:
    """Hyvärinen (2005), section 3.1: the minimum is at μ = mean and P = S⁻¹, and an optimizer finds it."""
    x = correlated()
    mean, precision = x.mean(0), torch.linalg.inv(torch.cov(x.T, correction=0))
    assert gradient_size(SM(), gaussian_energy(precision, mean), x) < 1e-12
    assert gradient_size(SM(), gaussian_energy(torch.eye(3).double(), mean), x) > 1e-2
    energy = gaussian_energy(torch.eye(3).double(), torch.zeros(3).double())
    minimise(energy.parameters(), lambda: SM().loss(energy, x, seeded()).loss)
    torch.testing.assert_close(energy.mean.detach(), mean, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(energy.precision.detach(), precision, rtol=1e-6, atol=1e-7)


def minimise(parameters: Iterable[nn.Parameter], loss: Callable[[], Tensor]) -> None:
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-11, tolerance_change=1e-16
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)  # type: ignore[arg-type]


def test_sm_is_the_written_formula() -> None:
    energy, x = mlp(), correlated()[:50, :2]
    grad, trace = laplacian(energy, x)
    rows = 0.5 * grad.square().sum(1) - trace
    out = SM().loss(energy, x, seeded())
    torch.testing.assert_close(out.loss, rows.mean())
    torch.testing.assert_close(out.metrics["loss_se"], rows.std().detach() / 50**0.5)
    assert SM().loss(energy, x[:1], seeded()).metrics["loss_se"] == 0


@pytest.mark.parametrize("variance_reduction", [True, False])
def test_ssm_over_all_sign_vectors_averages_to_sm_exactly(
    variance_reduction: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 2^D sign vectors are the whole law of a Rademacher v: the estimator's mean over them is the exact loss."""
    energy, x = mlp(shape=(3,)), correlated()[:20]
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)), dtype=torch.float64)
    monkeypatch.setitem(
        __import__("ebm_cli.methods.ssm", fromlist=["DRAW"]).DRAW,
        "rademacher",
        lambda shape, like, rng: signs[:, None, :].expand(8, len(x), 3),
    )
    loss = SSM(n_projections=8, variance_reduction=variance_reduction).loss(energy, x, seeded()).loss
    torch.testing.assert_close(loss, SM().loss(energy, x, seeded()).loss, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("projection", ["rademacher", "gaussian", "sphere"])
@pytest.mark.parametrize("variance_reduction", [True, False])
def test_ssm_is_unbiased(projection: str, variance_reduction: bool) -> None:
    energy, x = mlp(shape=(3,)), correlated()[:4]
    method = SSM(projection=projection, n_projections=4000, variance_reduction=variance_reduction)  # type: ignore[arg-type]
    losses = torch.stack([method.loss(energy, x, seeded(i)).loss.detach() for i in range(20)])
    exact = SM().loss(energy, x, seeded()).loss.detach()
    # 20 independent means; 1e-12 where the estimator has no variance at all.
    assert abs(float(losses.mean() - exact)) < 5 * float(losses.std()) / 20**0.5 + 1e-12


def test_unscaled_sphere_projections_would_fail_that_test(monkeypatch: pytest.MonkeyPatch) -> None:
    energy, x = mlp(shape=(3,)), correlated()[:4]
    module = __import__("ebm_cli.methods.ssm", fromlist=["DRAW"])
    monkeypatch.setitem(
        module.DRAW, "sphere", lambda s, like, g: nn.functional.normalize(module._gaussian(s, like, g), dim=2)
    )
    method = SSM(projection="sphere", n_projections=4000)
    losses = torch.stack([method.loss(energy, x, seeded(i)).loss.detach() for i in range(20)])
    exact = SM().loss(energy, x, seeded()).loss.detach()
    assert abs(float(losses.mean() - exact)) > 5 * float(losses.std()) / 20**0.5


def coins(signs: Tensor) -> float:
    """The largest z-score of the means at each place of 32 and of products of neighbours: low for fair coins."""
    rows = signs.view(-1, 32)
    means = [rows.mean(0), (rows * rows.roll(1, 1)).mean(0), (rows * rows.roll(1, 0)).mean(0)]
    return float(torch.stack(means).abs().max()) * len(rows) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_rows", [10, 2000])
def test_signs_are_of_the_dtype_of_the_points(n_rows: int, dtype: torch.dtype) -> None:
    v = DRAW["rademacher"]((1, n_rows, 7), torch.zeros(1, dtype=dtype), torch.Generator().manual_seed(0))
    assert v.dtype is dtype
    assert v.shape == (1, n_rows, 7)
    assert v.unique().tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("n_rows", [40, 30_000])
def test_signs_are_fair_coins(n_rows: int) -> None:
    """Drawn one by one where they are few, and where they are many as the bits of 32-bit numbers."""
    generator = seeded()
    calls = [DRAW["rademacher"]((4, n_rows, 8), torch.zeros(1), generator) for _ in range(320_000 // n_rows)]
    signs = torch.cat(calls, 1).flatten()
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    # 96 means: beyond 4.5 standard errors once in 1,500 generators.
    assert coins(signs) < 4.5
    # A word without its highest bit would give a sign that never changes.
    stuck = signs.clone().view(-1, 32)
    stuck[:, 31] = -1
    assert coins(stuck) > 100


@pytest.mark.parametrize(("k", "variance_reduction"), [(1, True), (1, False), (3, True), (3, False)])
def test_ssm_is_the_written_formula(k: int, variance_reduction: bool) -> None:
    energy, x = mlp(shape=(3,)), correlated()[:50]
    out = SSM(n_projections=k, variance_reduction=variance_reduction).loss(energy, x, seeded(3))
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


def test_variance_reduction_reduces_variance() -> None:
    energy, x = mlp(shape=(3,)), correlated()[:200]
    spread = {
        reduced: torch.stack(
            [SSM(variance_reduction=reduced).loss(energy, x, seeded(i)).loss.detach() for i in range(100)]
        ).std()
        for reduced in (True, False)
    }
    assert spread[True] < spread[False]


@pytest.mark.parametrize("method", [SM(), SSM()], ids=["sm", "ssm"])
def test_score_matching_refuses_a_piecewise_linear_energy(method: Method) -> None:
    with pytest.raises(ValueError, match="energy has a ReLU activation: its Hessian is zero"):
        method.validate(MLP((2,), activation="relu"), 8)
    method.validate(MLP((2,)), 8)


def test_dsm_learns_the_blurred_gaussian() -> None:
    """On N(0, v) the minimum is the precision 1/(v + σ²); at the sharp 1/v the gradient does not vanish."""
    v, sigma, n = 0.5, 0.6, 400_000
    x = v**0.5 * torch.randn(n, 1, generator=seeded(), dtype=torch.float64)

    def slope(precision: float) -> float:
        energy = gaussian_energy(torch.full((1, 1), precision).double(), torch.zeros(1).double())
        loss = DSM(sigma=sigma).loss(energy, x, seeded(1)).loss
        return float(torch.autograd.grad(loss, energy.raw_precision)[0])

    # σ(x̃ P − ε/σ) x̃ σ has standard deviation below 1 here: five standard errors of the mean.
    tolerance = 5 / n**0.5
    assert abs(slope(1 / (v + sigma**2))) < tolerance
    assert abs(slope(1 / v)) > 10 * tolerance


@pytest.mark.parametrize(("nu", "right_data", "right_noise"), [(1.0, 2 / 3, 1 / 2), (math.e, 1.0, 1 / 4)])
def test_the_classifier_is_judged_without_its_prior(nu: float, right_data: float, right_noise: float) -> None:
    """With h = log p/q − log ν, it is right where p/q is above 1 at data and below it at noise."""
    h_data = torch.tensor([3.0, -0.5, 0.25], dtype=torch.float64)
    h_noise = torch.tensor([-2.0, 0.5, -0.75, 0.125], dtype=torch.float64)
    out = classify(h_data, h_noise, nu)
    assert float(out.accuracy) == pytest.approx(0.5 * (right_data + right_noise), abs=1e-12)
    softplus = nn.functional.softplus
    assert float(out.loss) == pytest.approx(float(softplus(-h_data).mean() + nu * softplus(h_noise).mean()), abs=1e-12)


# --- contrastive divergence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5])
def test_cd_with_ula_learns_the_biased_precision(k: int) -> None:
    """On N(0, v), CD-k with ULA stands still where v is the chain's stationary variance: P = (1 − √(1 − 2ε/v))/ε."""
    v, eps, n = 0.8, 0.2, 400_000
    x = v**0.5 * torch.randn(n, 1, generator=seeded(), dtype=torch.float64)
    biased = (1 - math.sqrt(1 - 2 * eps / v)) / eps
    method = cd(x, Langevin(step_size=eps), k)
    assert abs(cd_slope(method, biased, x)) < tolerance(v, n)
    assert abs(cd_slope(method, 1 / v, x)) > 2 * tolerance(v, n)


@pytest.mark.parametrize("k", [1, 5])
def test_cd_with_mala_learns_the_true_precision(k: int) -> None:
    v, eps, n = 0.8, 0.2, 400_000
    x = v**0.5 * torch.randn(n, 1, generator=seeded(), dtype=torch.float64)
    biased = (1 - math.sqrt(1 - 2 * eps / v)) / eps
    method = cd(x, MALA(step_size=eps), k)
    assert abs(cd_slope(method, 1 / v, x)) < tolerance(v, n)
    assert abs(cd_slope(method, biased, x)) > 2 * tolerance(v, n)


def cd(x: Tensor, sampler: Langevin | MALA, k: int, **keys: object) -> CD:
    return CD(tuple(x.shape[1:]), sampler, Gaussian(x), k=k, **keys).to(x.dtype)  # type: ignore[arg-type]


def cd_slope(method: CD, precision: float, x: Tensor) -> float:
    energy = gaussian_energy(torch.full((1, 1), precision).double(), torch.zeros(1).double())
    return float(torch.autograd.grad(method.loss(energy, x, seeded(7)).loss, energy.raw_precision)[0])


def tolerance(v: float, n: int) -> float:
    """Five standard errors of ½(mean x⁺² − mean x⁻²) for independent sides; correlated ones have less."""
    return 5 * 0.5 * math.sqrt(2 * 2 * v**2 / n)


def test_cd_negatives_are_constants() -> None:
    """∂L/∂θ = mean ∂f(x⁺) − mean ∂f(x⁻): nothing flows through the chain."""
    x, energy = correlated()[:64, :2], mlp()
    method = cd(x, MALA(step_size=0.05), 3)
    loss = method.loss(energy, x, seeded(5)).loss
    grads = torch.autograd.grad(loss, list(energy.parameters()))
    from ebm_cli.samplers import run

    state, _ = run(method.sampler, energy, x, 3, seeded(5))
    expected = torch.autograd.grad(energy(x).mean() - energy(state.x.detach()).mean(), list(energy.parameters()))
    for a, b in zip(grads, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("start", ["data", "noise", "persistent"])
def test_cd_shows_its_negatives_without_moving_on(start: str) -> None:
    """What the next step's loss would draw, and nothing of the method has changed."""
    x, energy = correlated()[:64, :2], mlp()
    method = cd(x, MALA(step_size=0.05), 3, start=start, buffer_size=64)
    method.prepare(x, seeded())
    before = copy.deepcopy(method.state_dict())
    shown = method.negatives(energy, x, seeded(5))
    assert differences(before, method.state_dict()) == []
    assert torch.equal(shown, method.negatives(energy, x, seeded(5)))
    gap = method.loss(energy, x, seeded(5)).metrics["energy_gap"]
    torch.testing.assert_close(gap, (energy(x).mean() - energy(shown).mean()).detach())


@pytest.mark.parametrize("method", [SM(), SSM(), DSM(), MLE((2,))])
def test_a_method_without_a_chain_shows_none(method: Method) -> None:
    assert method.negatives(mlp(), correlated()[:8, :2], seeded()) is None
    assert method.proposal() is None


def test_persistent_chains_go_on_where_they_ended_and_are_never_written_dead() -> None:
    x, energy = correlated()[:64, :2], mlp()
    method = cd(x, MALA(step_size=0.05), 5, start="persistent", buffer_size=64, restart=0.0)
    method.prepare(x, seeded())
    before = method.buffer.clone()
    method.loss(energy, x, seeded(1))
    assert not torch.equal(before, method.buffer)
    assert (method.age == 5).all()
    method.loss(energy, x, seeded(2))
    assert (method.age == 10).all()
    method.buffer[3] = torch.nan
    out = method.loss(energy, x, seeded(3))
    assert torch.isfinite(method.buffer).all()
    assert float(out.metrics["dead_chains"]) == pytest.approx(1 / 64)
    assert torch.isfinite(out.loss)


def test_steps_that_nothing_survives_are_shortened_and_grow_back() -> None:
    """On N(0, 10⁻⁴ I) MALA with ε = 0.05 accepts nothing; 100 losses later it moves, and stays below its own ε."""
    x, sharp, wide = 0.01 * correlated()[:64, :2], *(Quadratic((2,), precision=p).double() for p in (1e4, 1.0))
    method = cd(x, MALA(step_size=0.05), 5)
    first = method.loss(sharp, x, seeded(0)).metrics["acceptance"]
    for i in range(300):
        last = method.loss(sharp, x, seeded(i)).metrics
    assert float(first) < 1e-6
    assert 0.2 < float(last["acceptance"]) < 0.6
    assert method.kernel.step_size < 1e-3
    state = copy.deepcopy(method.state_dict())
    for i in range(300):
        method.loss(wide, x, seeded(i))
    assert method.kernel is method.sampler
    method.load_state_dict(state)
    assert method.kernel.step_size < 1e-3


@pytest.mark.parametrize("kernel", [MALA(step_size=0.05), Langevin(step_size=0.05)])
def test_steps_that_fit_stay_as_they_are(kernel: MALA | Langevin) -> None:
    x = correlated()[:64, :2]
    method, energy = cd(x, kernel, 5), Quadratic((2,), precision=1.0).double()
    for i in range(50):
        method.loss(energy, x, seeded(i))
    assert method.kernel is kernel


def test_the_entropy_of_a_gaussian() -> None:
    """H(N(0, S)) = ½ log det(2πe S), within five standard errors over 40 samples; a wrong dimension is far off."""
    x = correlated()[:, :2] @ torch.tensor([[1.5, 0.3], [0.0, 0.4]]).double()
    exact = 0.5 * float(torch.logdet(2 * math.pi * math.e * x.T.cov()))
    estimates = torch.stack([entropy(part, part) for part in x.split(len(x) // 40)])
    error = float(estimates.std()) / len(estimates) ** 0.5
    assert abs(float(estimates.mean()) - exact) < 5 * error
    assert abs(float(estimates.mean()) / 2 - exact) > 20 * error


def test_the_divergence_of_the_chain_is_differentiated_through_its_last_step_alone() -> None:
    """∂/∂θ of E[f_θ⁻(x − ε∇f_θ(x) + √(2ε) z)] − H, θ⁻ fixed, against differences in the first layer's weight."""
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


@pytest.mark.parametrize(("dim", "ball"), [(1, 2.0), (2, math.pi), (3, 4 / 3 * math.pi), (4, math.pi**2 / 2)])
def test_the_entropy_of_pairs_is_that_of_their_balls(dim: int, ball: float) -> None:
    """Every nearest neighbour at r: log of the n − 1 balls of radius r, and Euler's constant."""
    x = torch.zeros(10, dim, dtype=torch.float64)
    x[:, 0] = torch.tensor([0, 0.7, 100, 100.7, 200, 200.7, 300, 300.7, 400, 400.7], dtype=x.dtype)
    assert float(entropy(x, x)) == pytest.approx(math.log(9 * ball * 0.7**dim) + 0.57721566490153, rel=1e-12)


def test_the_divergence_of_the_chain_is_a_term_of_the_loss() -> None:
    x, energy = correlated()[:32, :2], mlp()
    plain, whole = (cd(x, MALA(step_size=0.05), 2, kl=kl).loss(energy, x, seeded(5)) for kl in (0.0, 0.5))
    term = whole.metrics["chain_divergence"]
    torch.testing.assert_close(whole.loss, plain.loss + 0.5 * term)
    assert torch.equal(whole.metrics["energy_gap"], plain.metrics["energy_gap"])
    assert (whole.evaluations.laplacian, plain.evaluations.laplacian) == (1, 0)
    assert (whole.evaluations.grad, whole.evaluations.energy) == (plain.evaluations.grad + 1, plain.evaluations.energy)
    with pytest.raises(ValueError, match=r"^kl must be 0 with HMC"):
        CD((2,), HMC(), Gaussian(x), kl=0.1)
    with pytest.raises(ValueError, match=r"^batch_size must be >= 2 with method.kl"):
        cd(x, MALA(), 1, kl=0.1).validate(energy, 1)


def test_a_batch_larger_than_the_replay_buffer_is_refused() -> None:
    assert len(cd(correlated(), MALA(), 1, start="persistent", buffer_size=1).buffer) == 1
    method = cd(correlated(), MALA(), 1, start="persistent", buffer_size=64)
    method.validate(mlp(), 64)
    with pytest.raises(ValueError, match=r"^method.buffer_size must be >= batch_size = 65, got 64"):
        method.validate(mlp(), 65)


def test_restarts_start_from_noise() -> None:
    x, energy = correlated()[:1000, :2], mlp()
    method = cd(x, MALA(step_size=0.05), 5, start="persistent", buffer_size=1000, restart=0.3)
    method.prepare(x, seeded())
    for i in range(10):
        method.loss(energy, x, seeded(i))
    young = float((method.age == 5).double().mean())
    assert young == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / 1000))


def test_energy_regularisation_adds_the_squares() -> None:
    x, energy = correlated()[:64, :2], mlp()
    plain, held = (cd(x, MALA(step_size=0.05), 3, l2=l2).loss(energy, x, seeded(1)).loss for l2 in (0.0, 0.1))
    from ebm_cli.samplers import run

    state, _ = run(MALA(step_size=0.05), energy, x, 3, seeded(1))
    squares = energy(x).square().mean() + energy(state.x).square().mean()
    torch.testing.assert_close(held - plain, 0.1 * squares)


# --- noise contrastive estimation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("nu", [1.0, 3.0])
def test_nce_loss_at_the_truth_is_the_jensen_shannon_bound(nu: float) -> None:
    """Where p_θ = q the classifier knows nothing: L = log(1 + ν) + ν log(1 + 1/ν), whatever the data are."""
    x = torch.randn(5000, 2, generator=seeded(), dtype=torch.float64)
    noise = Gaussian(x)
    energy = gaussian_energy(torch.linalg.inv(noise.factor @ noise.factor.T), noise.mean)
    log_z = energy.log_z()
    assert log_z is not None
    method = NCE(noise, nu=nu, log_z=float(log_z.detach())).double()
    out = method.loss(energy, x, seeded(1))
    assert float(out.loss.detach()) == pytest.approx(math.log(1 + nu) + nu * math.log(1 + 1 / nu), rel=1e-9)


@pytest.mark.parametrize("nu", [0.5, 1.0, 2.0])
def test_nce_is_the_written_formula(nu: float) -> None:
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


def test_nce_with_noise_that_misses_the_data_stays_finite() -> None:
    x = correlated()[:100, :2]
    method = NCE(Uniform(x - 100.0)).double()
    out = method.loss(mlp(), x, seeded())
    # log q = −∞ at the data: certainly data, no loss from it, and no NaN.
    assert torch.isfinite(out.loss)


def test_nce_keeps_one_sample_of_noise_where_it_is_told_to() -> None:
    """The loss of the same rows is then the same number in every step, before and after a checkpoint."""
    x, energy = correlated(), mlp(shape=(3,))

    def losses(method: NCE, g: torch.Generator) -> list[float]:
        return [float(method.loss(energy, x, g).loss.detach()) for _ in range(2)]

    def prepared(seed: int, redraw: bool) -> NCE:
        method = NCE(Gaussian(x), redraw=redraw).double()
        method.prepare(x, seeded(seed))
        return method

    fresh, again = losses(prepared(1, redraw=True), seeded(2))
    assert fresh != again
    kept = prepared(1, redraw=False)
    first, second = losses(kept, seeded(2))
    assert first == second
    resumed = NCE(Gaussian(x), redraw=False).double()
    resumed.load_state_dict(kept.state_dict())
    assert losses(resumed, seeded(3)) == [first, first]
    assert losses(prepared(4, redraw=False), seeded(2))[0] != first


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


def standard_normal(size: int) -> Gaussian:
    noise = Gaussian(torch.randn(100, size, dtype=torch.float64, generator=seeded()))
    noise.mean.zero_()
    noise.factor.copy_(torch.eye(size))
    noise.whiten.copy_(torch.eye(size))
    noise.log_norm.fill_(-0.5 * size * math.log(2 * math.pi))
    return noise


# --- flow contrastive estimation --------------------------------------------------------------------------------------


def flow(seed: int = 0) -> CouplingFlow:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = CouplingFlow((2,), n_couplings=4, width=8).double()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=seeded(seed), dtype=p.dtype))
    return made


def test_fce_is_nce_with_the_flow_as_noise() -> None:
    x, energy, q = correlated()[:100, :2], mlp(), flow()
    fce = FCE(q, log_z=0.2).double()
    nce = NCE(q, nu=1.0, log_z=0.2).double()
    torch.testing.assert_close(fce.loss(energy, x, seeded(3)).loss, nce.loss(energy, x, seeded(3)).loss)


def test_fce_flow_minimises_what_the_energy_maximises_through_its_samples() -> None:
    x, energy, q = correlated()[:100, :2], mlp(), flow()
    fce = FCE(q, threshold=0.6, turn_every=1).double()
    mine = fce.loss(energy, x, seeded(3))
    assert mine.player == "energy"
    fce.accuracy.fill_(0.9)
    theirs = fce.loss(energy, x, seeded(3))
    assert theirs.player == "flow"
    torch.testing.assert_close(theirs.loss, -mine.loss)
    grads = torch.autograd.grad(theirs.loss, fce.players(energy)["flow"], retain_graph=True)
    eps, first = 1e-6, fce.players(energy)["flow"][0]

    def value() -> float:
        out = fce.loss(energy, x, seeded(3))
        return float(out.loss.detach()) * (1 if out.player == "flow" else -1)

    with torch.no_grad():
        first[0, 0] += eps
        up = value()
        first[0, 0] -= 2 * eps
        down = value()
    # The whole derivative, through the samples too.
    assert float(grads[0][0, 0]) == pytest.approx((up - down) / (2 * eps), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.5] * 12, "eeeeeeeeeeee"),
        # Read at the steps 0, 3, 6 and 9 alone.
        ([0.9, 0.5, 0.5] * 4, "fffeeefffeee"),
        ([0.5, 0.9, 0.9] * 4, "eeeeeeeeeeee"),
        ([0.5, 0.5, 0.5, 0.9, 0.9, 0.9] * 2, "eeefffeeefff"),
    ],
)
def test_fce_turns_go_by_the_accuracy_at_fixed_intervals(accuracies: list[float], expected: str) -> None:
    x, energy = correlated()[:100, :2], mlp()
    fce = FCE(flow(), threshold=0.7, turn_every=3).double()
    players = ""
    for step, accuracy in enumerate(accuracies):
        fce.accuracy.fill_(accuracy)
        players += fce.loss(energy, x, seeded(step)).player[0]
    assert players == expected


def test_fce_players_are_disjoint_and_complete() -> None:
    energy = mlp()
    fce = FCE(flow()).double()
    players = fce.players(energy)
    ids = [id(p) for group in players.values() for p in group]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(p) for p in [*energy.parameters(), *fce.parameters()]}


def test_fce_refuses_a_noise_that_cannot_learn() -> None:
    with pytest.raises(ValueError, match=r"^noise must be a flow that can be trained"):
        FCE(Gaussian(correlated()))


# --- maximum likelihood -----------------------------------------------------------------------------------------------


class Opaque(Energy):
    """A Gaussian that does not know its own log Z."""

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


def test_mle_grid_is_unbiased_for_a_peak_narrower_than_its_spacing() -> None:
    energy = Opaque(gaussian_energy(torch.full((1, 1), 1 / 0.02**2).double(), torch.full((1,), 0.3).double()))
    truth = 0.5 * math.log(2 * math.pi * 0.02**2)
    method = MLE((1,), n_grid=64)
    z = torch.stack(
        [method.loss(energy, torch.zeros(1, 1).double(), seeded(i)).metrics["log_z"].exp() for i in range(4000)]
    )
    assert float(z.mean()) == pytest.approx(math.exp(truth), abs=5 * float(z.std()) / 4000**0.5)
    assert float(z.std()) > 0.05 * math.exp(truth)


def test_mle_sees_mass_far_away() -> None:
    """Six standard deviations of the data out, in expectation over the shifts; a box of the data would give 0."""
    energy = Opaque(gaussian_energy(torch.eye(1).double(), torch.full((1,), 6.0).double()))
    method = MLE((1,), n_grid=32)
    z = torch.stack(
        [method.loss(energy, torch.zeros(1, 1).double(), seeded(i)).metrics["log_z"].exp() for i in range(4000)]
    )
    assert float(z.mean()) == pytest.approx(math.sqrt(2 * math.pi), abs=5 * float(z.std()) / 4000**0.5)


def test_mle_on_a_gaussian_is_the_sample_estimate() -> None:
    x = correlated()
    covariance = torch.cov(x.T, correction=0)
    assert gradient_size(MLE((3,)), gaussian_energy(torch.linalg.inv(covariance), x.mean(0)), x) < 1e-10
    assert gradient_size(MLE((3,)), gaussian_energy(torch.eye(3).double(), x.mean(0)), x) > 1e-2


def test_mle_refuses_what_has_no_log_z() -> None:
    with pytest.raises(ValueError, match=r"^energy MLP has no closed-form log Z"):
        MLE((3,)).validate(MLP((3,)), 8)
    MLE((3,)).validate(Quadratic((3,)), 8)
    MLE((2,)).validate(MLP((2,)), 8)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: SSM(n_projections=0), "n_projections"),
        (lambda: DSM(sigma=0.0), "sigma"),
        (lambda: NCE(Gaussian(correlated()), nu=0.0), "nu"),
        (lambda: NCE(Gaussian(correlated()), fit_steps=-1), "fit_steps"),
        (lambda: FCE(flow(), flow_lr=0.0), "flow_lr"),
        (lambda: FCE(flow(), flow_lr=-1.0), "flow_lr"),
        (lambda: FCE(flow(), threshold=0.5), "threshold"),
        (lambda: FCE(flow(), turn_every=0), "turn_every"),
        (lambda: MLE((2,), n_grid=4), "n_grid"),
        (lambda: MLE((2,), scale=0.0), "scale"),
        (lambda: cd(correlated(), MALA(), 0), "k"),
        (lambda: cd(correlated(), MALA(), 1, restart=1.5), "restart"),
        (lambda: cd(correlated(), MALA(), 1, buffer_size=0), "buffer_size"),
        (lambda: cd(correlated(), MALA(), 1, l2=-1.0), "l2"),
    ],
)
def test_constructors_name_what_they_refuse(make: object, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must"):
        make()  # type: ignore[operator]
