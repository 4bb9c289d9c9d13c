"""Contrastive divergence: its minimum on a Gaussian, its gradient, persistent chains and step sizes."""

import copy
import math

import pytest
import torch
from torch import Tensor

from ebm_cli.densities import Density, Gaussian
from ebm_cli.energies import Mixture, Quadratic
from ebm_cli.methods import CD
from ebm_cli.samplers import NUTS, Kernel, Tempering, run
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from tests.evaluation.toys import normal_density
from tests.methods.toys import correlated, gaussian_energy, mlp
from tests.support import differences, seeded


def cd(x: Tensor, sampler: Kernel, k: int, **keys: object) -> CD:
    return CD(tuple(x.shape[1:]), sampler, Gaussian(x), k=k, **keys).to(x.dtype)  # type: ignore[arg-type]


def cd_slope(method: CD, precision: float, x: Tensor) -> float:
    energy = gaussian_energy(torch.full((1, 1), precision).double(), torch.zeros(1).double())
    return float(torch.autograd.grad(method.loss(energy, x, seeded(7)).loss, energy.raw_precision)[0])


def tolerance(v: float, n: int) -> float:
    """Five standard errors of ½(mean x⁺² − mean x⁻²) for independent sides; correlated ones have less."""
    return 5 * 0.5 * math.sqrt(2 * 2 * v**2 / n)


@pytest.mark.parametrize("k", [1, 5])
def test_cd_with_ula_learns_the_biased_precision(k: int) -> None:
    """On N(0, v), CD-k with ULA is stationary if v is the chain's stationary variance: P = (1 − √(1 − 2ε/v))/ε."""
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


def test_cd_does_not_differentiate_through_the_chain() -> None:
    """∂L/∂θ = mean ∂f(x⁺) − mean ∂f(x⁻)."""
    x, energy = correlated()[:64, :2], mlp()
    method = cd(x, MALA(step_size=0.05), 3)
    loss = method.loss(energy, x, seeded(5)).loss
    grads = torch.autograd.grad(loss, list(energy.parameters()))
    state, _ = run(method.sampler, energy, x, 3, seeded(5))
    expected = torch.autograd.grad(energy(x).mean() - energy(state.x.detach()).mean(), list(energy.parameters()))
    for a, b in zip(grads, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("kernel", "at_start"), [(NUTS(0.3, max_depth=5), 1), (Tempering(0.3, kernel=NUTS(max_depth=5), n_replicas=3), 3)]
)
def test_cd_counts_the_gradients_of_trees(kernel: Kernel, at_start: int) -> None:
    x, energy = correlated()[:64, :2], mlp()
    out = cd(x, kernel, 3).loss(energy, x, seeded(5))
    counted = run(kernel, energy, x, 3, seeded(5))[1].gradients
    assert counted is not None
    assert out.evaluations.grad == pytest.approx(3 * float(counted.mean()) + at_start)
    assert out.evaluations.grad < kernel.evaluations(3).grad


def test_weighted_chains_count_the_gradients_of_trees() -> None:
    x, energy, kernel = correlated()[:64, :2], mlp(), NUTS(0.3, max_depth=5)
    weighted = cd(x, kernel, 3, start="persistent", buffer_size=64, weights="jarzynski")
    weighted.prepare(x, seeded())
    assert weighted.loss(energy, x, seeded(5)).evaluations.grad < kernel.evaluations(3).grad


def test_cd_l2_adds_the_squared_energies() -> None:
    x, energy = correlated()[:64, :2], mlp()
    plain, held = (cd(x, MALA(step_size=0.05), 3, l2=l2).loss(energy, x, seeded(1)).loss for l2 in (0.0, 0.1))
    state, _ = run(MALA(step_size=0.05), energy, x, 3, seeded(1))
    squares = energy(x).square().mean() + energy(state.x).square().mean()
    torch.testing.assert_close(held - plain, 0.1 * squares)


@pytest.mark.parametrize("start", ["data", "noise", "persistent"])
def test_cd_negatives_change_nothing_of_the_method(start: str) -> None:
    """They are the negative samples of the next loss."""
    x, energy = correlated()[:64, :2], mlp()
    method = cd(x, MALA(step_size=0.05), 3, start=start, buffer_size=64)
    method.prepare(x, seeded())
    before = copy.deepcopy(method.state_dict())
    shown = method.negatives(energy, x, seeded(5))
    assert differences(before, method.state_dict()) == []
    assert torch.equal(shown, method.negatives(energy, x, seeded(5)))
    gap = method.loss(energy, x, seeded(5)).metrics["energy_gap"]
    torch.testing.assert_close(gap, (energy(x).mean() - energy(shown).mean()).detach())


def test_persistent_chains_continue_and_stay_finite() -> None:
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


def test_persistent_chains_restart_from_noise() -> None:
    x, energy = correlated()[:1000, :2], mlp()
    method = cd(x, MALA(step_size=0.05), 5, start="persistent", buffer_size=1000, restart=0.3)
    method.prepare(x, seeded())
    for i in range(10):
        method.loss(energy, x, seeded(i))
    young = float((method.age == 5).double().mean())
    assert young == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / 1000))


def test_cd_refuses_a_batch_larger_than_its_replay_buffer() -> None:
    assert len(cd(correlated(), MALA(), 1, start="persistent", buffer_size=1).buffer) == 1
    method = cd(correlated(), MALA(), 1, start="persistent", buffer_size=64)
    method.validate(mlp(), 64)
    with pytest.raises(ValueError, match=r"^method.buffer_size must be >= batch_size = 65, got 64"):
        method.validate(mlp(), 65)


def test_cd_shortens_rejected_steps_and_lets_them_grow() -> None:
    """On N(0, 10⁻⁴ I) MALA with ε = 0.05 accepts nothing; 300 losses later it moves, with a shorter step."""
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
def test_cd_keeps_a_step_size_that_fits(kernel: MALA | Langevin) -> None:
    x = correlated()[:64, :2]
    method, energy = cd(x, kernel, 5), Quadratic((2,), precision=1.0).double()
    for i in range(50):
        method.loss(energy, x, seeded(i))
    assert method.kernel is kernel


def test_chains_without_a_metropolis_test_log_no_acceptance() -> None:
    x = correlated()[:64]
    for sampler, logged in ((Langevin(0.01), False), (MALA(0.1), True)):
        metrics = cd(x, sampler, 2).loss(Quadratic((3,)).double(), x, seeded()).metrics
        assert ("acceptance" in metrics, "step_size" in metrics) == (logged, True)


class Bending(Quadratic):
    """A Gaussian energy on the line that bends a density: its own."""

    @property
    def reference(self) -> Density:
        return normal_density(1, 1 / float(self.precision.detach()))


def test_jumps_give_the_exact_gradient_where_chains_hardly_move() -> None:
    """½(v − 1/P) for chains that jump; almost 0 for one step of 1e-6 without, and where no density is bent."""
    v, precision = 0.8, 2.0
    x = v**0.5 * torch.randn(200_000, 1, generator=seeded(), dtype=torch.float64)
    slopes = {}
    for name, energy, jumps in (
        ("jumps", Bending((1,), precision).double(), 1),
        ("none", Bending((1,), precision).double(), 0),
        ("plain", Quadratic((1,), precision).double(), 3),
    ):
        output = cd(x, MALA(step_size=1e-6), 1, jumps=jumps).loss(energy, x, seeded(7))
        slopes[name] = float(torch.autograd.grad(output.loss, energy.raw_precision)[0])
        assert ("jumps" in output.metrics) == (name == "jumps")
    assert slopes["jumps"] == pytest.approx(0.5 * (v - 1 / precision), abs=tolerance(v, len(x)))
    assert abs(slopes["none"]) < 1e-3
    assert abs(slopes["plain"]) < 1e-3


def test_jumps_below_0_are_refused() -> None:
    with pytest.raises(ValueError, match=r"jumps must be >= 0, got -1"):
        cd(torch.zeros(4, 1), Langevin(step_size=0.1), 1, jumps=-1)


def from_one_mode() -> Tensor:
    """Rows of N(−3, 0.5²) [200, 1]."""
    return 0.5 * torch.randn(200, 1, generator=seeded(), dtype=torch.float64) - 3


def tempered(start: str) -> CD:
    sampler, x = Tempering(0.1, kernel=MALA(), n_replicas=5, hottest=15.0), from_one_mode()
    method = cd(x, sampler, 2, start=start, buffer_size=200, restart=0.0)
    method.prepare(x, seeded())
    return method


@pytest.mark.parametrize("start", ["persistent", "data"])
def test_persistent_tempered_chains_find_the_masses(start: str) -> None:
    """The whole ladder is kept from step to step; chains that begin anew do not cross in two transitions."""
    method, x = tempered(start), from_one_mode()
    # 0.2 N(−3, 0.5²) + 0.8 N(3, 0.5²): a barrier of eighteen nats.
    energy = Mixture((1,), [[-3.0], [3.0]], 0.5, [0.2, 0.8]).double()
    for i in range(80):
        method.loss(energy, x, seeded(i))
    ends = method.negatives(energy, x, seeded(80))
    mass = float((ends > 0).double().mean())
    assert abs(mass - 0.8) < 5 * math.sqrt(0.8 * 0.2 / 200) if start == "persistent" else mass < 0.05


def test_a_replica_that_diverged_is_put_at_the_cold_one() -> None:
    method = tempered("persistent")
    assert method.hot is not None
    replicas = torch.arange(5.0, dtype=torch.float64).view(5, 1, 1).repeat(1, 3, 1)
    replicas[2, 1] = torch.nan
    method.hot.store(torch.tensor((5, 7, 9)), replicas, replicas[0])
    assert method.hot.points[[5, 7, 9], :, 0].tolist() == [[1, 2, 3, 4], [1, 0, 3, 4], [1, 2, 3, 4]]
