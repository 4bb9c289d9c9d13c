"""Samplers: exact statements. Chains start at stationarity, so one position a chain is an exact independent sample.

The tolerance is five standard errors, and its equal in probability for the Kolmogorov–Smirnov test; every claim of
exactness has a control, a kernel or a start that is wrong, that must fail the same test.
"""

import gc
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path

import pytest
import torch
import yaml
from scipy import stats
from torch import Tensor
from torch.distributions import Normal

from ebm_cli.derivatives import value_and_grad
from ebm_cli.samplers import Info, Kernel, State, adapt, geometric, run, trace
from ebm_cli.samplers import hmc as hmc_module
from ebm_cli.samplers import mala as mala_module
from ebm_cli.samplers import metropolis as metropolis_module
from ebm_cli.samplers.acceptance import accept_reject
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from ebm_cli.samplers.underdamped import Underdamped
from tests.support import seeded

SIGMAS = 5.0
P_VALUE = math.erfc(SIGMAS / math.sqrt(2))
KERNELS = [Langevin(), MALA(), HMC(), Metropolis(), Underdamped()]
EXACT = [MALA(0.35), HMC(0.9, n_leapfrog=3), Metropolis(0.7)]
CONF = sorted((Path(__file__).parents[2] / "conf" / "sampler").glob("*.yaml"))


def name_of(value: object) -> str:
    return type(value).__name__.lower()


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def harmonic(x: Tensor) -> Tensor:
    return 0.5 * x.flatten(1).square().sum(1)


def deviation_of_variance(x: Tensor, variance: float) -> float:
    """How many standard errors the variance of n independent draws of N(0, variance) lies away from it."""
    return abs(float(x.square().mean()) - variance) / (variance * math.sqrt(2 / x.numel()))


# Targets: energy, exact sampler, exact moments, and coordinates that are uniform on (0, 1) under the target.


@dataclass(frozen=True)
class Target:
    name: str
    energy: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor]
    mean: tuple[float, float]
    second: tuple[float, float, float]
    uniform: Callable[[Tensor], Tensor]

    def fits(self, x: Tensor) -> bool:
        """Whether independent points x [n, 2] pass for the target: E x, E x xᵀ and the laws of two coordinates."""
        values = torch.stack((x[:, 0], x[:, 1], x[:, 0] ** 2, x[:, 1] ** 2, x[:, 0] * x[:, 1]), dim=1)
        expected = torch.tensor((*self.mean, *self.second), dtype=x.dtype)
        errors = (values.mean(0) - expected).abs() / (values.std(0) / math.sqrt(len(x)))
        laws = [stats.kstest(u.numpy(), "uniform").pvalue for u in self.uniform(x).T]
        return float(errors.max()) < SIGMAS and min(laws) > P_VALUE


def gaussian_target() -> Target:
    factor = torch.tensor(((1.0, 0.0), (0.8, 1.1)), dtype=torch.float64)
    white = torch.linalg.inv(factor).T
    cov = factor @ factor.T
    return Target(
        "gaussian",
        lambda x: 0.5 * (x @ white).square().sum(1),
        lambda n: normal(n, 2) @ factor.T,
        (0.0, 0.0),
        (float(cov[0, 0]), float(cov[1, 1]), float(cov[0, 1])),
        lambda x: torch.special.ndtr(x @ white),
    )


def mixture_target() -> Target:
    means = torch.tensor(((-1.5, 0.0), (1.5, 1.0)), dtype=torch.float64)
    weights = torch.tensor((0.3, 0.7), dtype=torch.float64)
    sd = 0.8

    def energy(x: Tensor) -> Tensor:
        return -torch.logsumexp(weights.log() - (x[:, None] - means).square().sum(2) / (2 * sd**2), 1)

    def sample(n: int) -> Tensor:
        component = (torch.rand(n, generator=seeded(2), dtype=torch.float64) >= 0.3).long()
        return means[component] + sd * normal(n, 2)

    def uniform(x: Tensor) -> Tensor:
        return (weights[:, None] * torch.special.ndtr((x[:, None] - means) / sd)).sum(1)

    return Target("mixture", energy, sample, (0.6, 0.7), (2.25 + sd**2, 0.7 + sd**2, 0.7 * 1.5), uniform)


def banana_target() -> Target:
    sd = 0.7

    def energy(x: Tensor) -> Tensor:
        return 0.5 * x[:, 0] ** 2 + (x[:, 1] - x[:, 0] ** 2) ** 2 / (2 * sd**2)

    def sample(n: int) -> Tensor:
        z = normal(n, 2)
        return torch.stack((z[:, 0], z[:, 0] ** 2 + sd * z[:, 1]), 1)

    def uniform(x: Tensor) -> Tensor:
        return torch.special.ndtr(torch.stack((x[:, 0], (x[:, 1] - x[:, 0] ** 2) / sd), 1))

    return Target("banana", energy, sample, (0.0, 1.0), (1.0, 3 + sd**2, 0.0), uniform)


TARGETS = [gaussian_target(), mixture_target(), banana_target()]


def always(state: State, proposal: State, log_ratio: Tensor, rng: torch.Generator) -> tuple[State, Info]:
    """The broken correction: every proposal is accepted."""
    return proposal, Info(torch.ones_like(log_ratio))


def break_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mala_module, hmc_module, metropolis_module):
        monkeypatch.setattr(module, "accept_reject", always)


# Exactness


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("kernel", EXACT, ids=name_of)
def test_corrected_kernels_keep_exact_samples_exact(kernel: Kernel, target: Target) -> None:
    state, info = run(kernel, target.energy, target.sample(20_000), 20, seeded())
    assert 0.1 < float(info.accept.mean()) < 0.95
    assert target.fits(state.x)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("kernel", EXACT, ids=name_of)
def test_control_without_the_correction_they_do_not(
    kernel: Kernel, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_correction(monkeypatch)
    state, _ = run(kernel, target.energy, target.sample(20_000), 20, seeded())
    assert not target.fits(state.x)


@pytest.mark.parametrize("kernel", EXACT, ids=name_of)
def test_corrected_kernels_forget_a_wrong_start(kernel: Kernel) -> None:
    target = TARGETS[0]
    wrong = 2.0 + target.sample(20_000)
    assert not target.fits(wrong)
    assert target.fits(run(kernel, target.energy, wrong, 80, seeded())[0].x)


@pytest.mark.parametrize(("eps", "var"), [(0.1, 0.5), (0.5, 1.0), (1.5, 1.0)])
def test_ula_has_its_known_biased_variance(eps: float, var: float) -> None:
    def energy(x: Tensor) -> Tensor:
        return harmonic(x) / var

    biased = var / (1 - eps / (2 * var))
    z = normal(200_000, 1)
    kept, _ = run(Langevin(eps), energy, math.sqrt(biased) * z, 30, seeded())
    assert deviation_of_variance(kept.x, biased) < SIGMAS
    # Control: the target's own variance is not stationary, by the factor that one step gives in closed form.
    left, _ = run(Langevin(eps), energy, math.sqrt(var) * z, 1, seeded())
    assert deviation_of_variance(left.x, var) > SIGMAS
    assert deviation_of_variance(left.x, (1 - eps / var) ** 2 * var + 2 * eps) < SIGMAS


def test_baoab_has_the_exact_position_law_and_the_known_velocity_law_on_a_gaussian() -> None:
    eps, var, temperature = 1.0, 0.8, 1.5
    kernel = Underdamped(eps, temperature, friction=1.0)
    state, _ = run(kernel, lambda x: harmonic(x) / var, math.sqrt(var * temperature) * normal(200_000, 1), 40, seeded())
    velocity = state.aux["velocity"]
    assert deviation_of_variance(state.x, var * temperature) < SIGMAS
    assert deviation_of_variance(velocity, temperature * (1 - eps**2 / (4 * var))) < SIGMAS
    assert deviation_of_variance(velocity, temperature) > SIGMAS
    assert abs(float((state.x * velocity).mean())) < SIGMAS * math.sqrt(var) * temperature / math.sqrt(200_000)


def test_control_another_splitting_of_the_same_parts_is_not_exact() -> None:
    """OBABO: the same three maps in another order have x's variance σ²T/(1 − eps²/(4σ²))."""
    eps, var, rng = 1.0, 0.8, seeded()
    decay = math.exp(-0.5 * eps)
    x, v = math.sqrt(var) * normal(200_000, 1), normal(200_000, 1, seed=2)

    def heat(v: Tensor) -> Tensor:
        return decay * v + math.sqrt(1 - decay**2) * torch.randn(v.shape, generator=rng, dtype=v.dtype)

    for _ in range(40):
        v = heat(v) - 0.5 * eps * x / var
        x = x + eps * v
        v = heat(v - 0.5 * eps * x / var)
    assert deviation_of_variance(x, var) > SIGMAS
    assert deviation_of_variance(x, var / (1 - eps**2 / (4 * var))) < SIGMAS


@pytest.mark.parametrize("kernel", [MALA(0.5), HMC(0.7, n_leapfrog=3), Metropolis(1.0), Underdamped(0.8)], ids=name_of)
def test_temperature_two_doubles_the_variance(kernel: Kernel) -> None:
    hot = math.sqrt(2) * normal(100_000, 1)
    state, _ = run(replace(kernel, temperature=2.0), harmonic, hot, 20, seeded())
    assert deviation_of_variance(state.x, 2.0) < SIGMAS
    state, _ = run(kernel, harmonic, hot, 20, seeded())
    assert deviation_of_variance(state.x, 2.0) > SIGMAS


def test_temperature_of_ula_scales_its_biased_variance() -> None:
    biased = 2.0 / (1 - 0.5 / 2)
    state, _ = run(Langevin(0.5, temperature=2.0), harmonic, math.sqrt(biased) * normal(100_000, 1), 20, seeded())
    assert deviation_of_variance(state.x, biased) < SIGMAS


# Detailed balance


def asymmetry(kernel: Kernel, target: Target) -> float:
    """Largest standardised mean of h(x) k(x') − k(x) h(x'): 0 for a reversible chain at stationarity."""
    x = target.sample(200_000)
    y = run(kernel, target.energy, x, 1, seeded())[0].x

    def features(x: Tensor) -> tuple[Tensor, ...]:
        # Bounded: a chain that a broken kernel sends far away must not drown the others in its variance.
        return x[:, 0].tanh(), x[:, 1].tanh(), x[:, 1].sin(), (-target.energy(x)).exp()

    swapped = combinations(zip(features(x), features(y), strict=True), 2)
    gaps = [h_x * k_y - k_x * h_y for (h_x, h_y), (k_x, k_y) in swapped]
    return max(abs(float(gap.mean() / gap.std())) * math.sqrt(len(gap)) for gap in gaps)


@pytest.mark.parametrize("target", TARGETS[1:], ids=lambda t: t.name)
@pytest.mark.parametrize("kernel", EXACT, ids=name_of)
def test_detailed_balance(kernel: Kernel, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asymmetry(kernel, target) < SIGMAS
    break_correction(monkeypatch)
    assert asymmetry(kernel, target) > SIGMAS


def recorded_ratio(
    kernel: Kernel, module: object, target: Target, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, Tensor, Tensor]:
    """(x, x', log of the acceptance ratio) of one step."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def spy(state: State, proposal: State, log_ratio: Tensor, rng: torch.Generator) -> tuple[State, Info]:
        seen.append((state.x, proposal.x, log_ratio))
        return accept_reject(state, proposal, log_ratio, rng)

    monkeypatch.setattr(module, "accept_reject", spy)
    run(kernel, target.energy, target.sample(100), 1, seeded())
    return seen[0]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_mala_ratio_is_that_of_the_proposal_densities(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    eps, temperature = 0.3, 1.7
    x, y, log_ratio = recorded_ratio(MALA(eps, temperature), mala_module, target, monkeypatch)

    def log_flow(a: Tensor, b: Tensor) -> Tensor:
        """log of the target at a times the proposal density a → b, up to Z."""
        energy, grad = value_and_grad(target.energy, a)
        proposal = Normal(a - eps * grad, math.sqrt(2 * eps * temperature))
        return -energy / temperature + proposal.log_prob(b).sum(1)

    torch.testing.assert_close(log_ratio, log_flow(y, x) - log_flow(x, y), rtol=1e-10, atol=1e-10)


def test_hmc_proposal_is_a_reversible_trajectory_and_its_ratio_the_energy_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    target, eps, n, temperature = TARGETS[2], 0.2, 5, 1.7
    x, y, log_ratio = recorded_ratio(HMC(eps, temperature, n), hmc_module, target, monkeypatch)

    def trajectory(x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        for _ in range(n):
            v = v - 0.5 * eps * value_and_grad(target.energy, x)[1]
            x = x + eps * v
            v = v - 0.5 * eps * value_and_grad(target.energy, x)[1]
        return x, v

    v = math.sqrt(temperature) * torch.randn(x.shape, generator=seeded(), dtype=x.dtype)
    end, w = trajectory(x, v)
    torch.testing.assert_close(y, end, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(trajectory(end, -w)[0], x, rtol=1e-10, atol=1e-10)
    before, after = (target.energy(a) + 0.5 * b.square().sum(1) for a, b in ((x, v), (end, w)))
    torch.testing.assert_close(log_ratio, (before - after) / temperature, rtol=1e-10, atol=1e-10)


def test_leapfrog_energy_error_is_of_second_order(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [
        float(recorded_ratio(HMC(1.6 / n, n_leapfrog=n), hmc_module, TARGETS[0], monkeypatch)[2].abs().mean())
        for n in (8, 16, 32)
    ]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2.0, abs=0.1)


# The formula of Langevin


def test_langevin_step_is_the_formula() -> None:
    eps, scale, temperature = 0.07, 0.6, 1.3
    x = normal(50, 2)
    grad = value_and_grad(TARGETS[2].energy, x)[1]
    z = torch.randn(x.shape, generator=seeded(), dtype=x.dtype)
    expected = x + eps * -grad + math.sqrt(2 * eps) * scale * math.sqrt(temperature) * z
    state, info = run(Langevin(eps, temperature, scale), TARGETS[2].energy, x, 1, seeded())
    torch.testing.assert_close(state.x, expected, rtol=1e-14, atol=1e-14)
    assert torch.equal(info.accept, torch.ones(50, dtype=x.dtype))


def test_without_noise_langevin_is_gradient_descent() -> None:
    x = expected = normal(20, 3)
    for _ in range(7):
        expected = expected - 0.25 * expected
    assert torch.equal(run(Langevin(0.25, noise_scale=0.0), harmonic, x, 7, seeded())[0].x, expected)


def test_langevin_clamps_each_component() -> None:
    x = torch.tensor([[0.1, -3.0, 5.0]], dtype=torch.float64)
    state, _ = run(Langevin(1.0, noise_scale=0.0, clamp_grad=1.0), harmonic, x, 1, seeded())
    torch.testing.assert_close(state.x, torch.tensor([[0.0, -2.0, 4.0]], dtype=torch.float64))
    state, _ = run(Langevin(0.5, noise_scale=0.0, clamp_sample=1.0), harmonic, x, 1, seeded())
    torch.testing.assert_close(state.x, torch.tensor([[0.05, -1.0, 1.0]], dtype=torch.float64))


# Cost


@pytest.mark.parametrize(
    ("kernel", "gradients", "values"),
    [
        (Langevin(), 6, 0),
        (MALA(), 1 + 6, 0),
        (HMC(n_leapfrog=4), 1 + 4 * 6, 0),
        (Metropolis(), 0, 1 + 6),
        (Underdamped(), 1 + 6, 0),
    ],
    ids=lambda p: name_of(p) if isinstance(p, Kernel) else str(p),
)
def test_evaluations_of_six_steps(kernel: Kernel, gradients: int, values: int) -> None:
    calls = {True: 0, False: 0}

    def counted(x: Tensor) -> Tensor:
        calls[x.requires_grad] += 1
        return harmonic(x)

    run(kernel, counted, normal(3, 2), 6, seeded())
    assert (calls[True], calls[False]) == (gradients, values)
    assert kernel.evaluations(6) == (values, gradients)


def live_tensors() -> int:
    return sum(issubclass(type(o), Tensor) for o in gc.get_objects())


def growth(kernel: Kernel) -> int:
    """Tensors alive at step 60 more than at step 10; the gradient's graph must not live on either."""
    counts: dict[int, int] = {}

    def count(i: int) -> dict[str, float]:
        if i in (10, 60):
            counts[i] = live_tensors()
        return {}

    # What earlier tests left in cycles must not be collected between the two counts.
    gc.collect()
    gc.disable()
    try:
        state, _ = run(kernel, harmonic, normal(4, 2).requires_grad_(), 61, seeded(), schedule=count)
    finally:
        gc.enable()
    assert not any(t.requires_grad for t in (state.x, state.energy, state.grad, *state.aux.values()) if t is not None)
    return counts[60] - counts[10]


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_memory_is_flat_in_the_number_of_steps(kernel: Kernel) -> None:
    assert growth(kernel) == 0


def test_control_a_kernel_that_hoards_its_past_is_seen() -> None:
    @dataclass(frozen=True)
    class Hoarder(Kernel):
        step_size: float = 1.0

        def init(self, energy: Callable[[Tensor], Tensor], x: Tensor, rng: torch.Generator) -> State:
            return State(x, None, None, {})

        def step(self, energy: Callable[[Tensor], Tensor], state: State, rng: torch.Generator) -> tuple[State, Info]:
            return State(state.x + 1, None, None, state.aux | {str(len(state.aux)): state.x}), Info(state.x[:, 0])

    assert growth(Hoarder()) == 50


# Chains and their draws


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_the_generator_fixes_every_bit_and_the_global_one_is_left_alone(kernel: Kernel) -> None:
    before = torch.random.get_rng_state()
    x = normal(6, 2)
    start = x.clone()
    a, b, c = (run(kernel, TARGETS[2].energy, x, 10, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(a[0].x, b[0].x)
    assert torch.equal(a[1].accept, b[1].accept)
    assert not torch.equal(a[0].x, c[0].x)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(x, start)


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_chains_do_not_see_each_other(kernel: Kernel) -> None:
    x = normal(6, 2)
    y = x.clone()
    y[1:] *= -3.0
    y[3] = math.nan
    a, b = (run(kernel, TARGETS[2].energy, start, 10, seeded()) for start in (x, y))
    assert torch.equal(a[0].x[0], b[0].x[0])
    assert torch.equal(a[1].accept[0], b[1].accept[0])
    assert not torch.equal(a[0].x[1], b[0].x[1])


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_points_of_any_shape_are_the_flat_chain(kernel: Kernel) -> None:
    flat = normal(5, 64)
    image, info = run(kernel, harmonic, flat.view(5, 1, 8, 8), 10, seeded())
    expected, expected_info = run(kernel, harmonic, flat, 10, seeded())
    assert image.x.shape == (5, 1, 8, 8)
    assert info.accept.shape == (5,)
    torch.testing.assert_close(image.x.flatten(1), expected.x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(info.accept, expected_info.accept, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_cached_energy_and_gradient_are_those_of_the_position(kernel: Kernel) -> None:
    state, _ = run(kernel, TARGETS[1].energy, TARGETS[1].sample(50), 10, seeded())
    energy, grad = value_and_grad(TARGETS[1].energy, state.x)
    if state.energy is not None:
        torch.testing.assert_close(state.energy, energy)
    if state.grad is not None:
        torch.testing.assert_close(state.grad, grad)


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_float32_stays_float32(kernel: Kernel) -> None:
    state, info = run(kernel, harmonic, normal(4, 2).float(), 3, seeded())
    assert state.x.dtype == info.accept.dtype == torch.float32


# What is not finite


@pytest.mark.parametrize("outside", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kernel", EXACT, ids=name_of)
def test_proposals_that_are_not_finite_are_rejected(kernel: Kernel, outside: float) -> None:
    """N(0, I) cut off at x_0 < 0, where the energy has no value: the half-normal law is kept."""

    def energy(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 0, harmonic(x), outside)

    x = normal(20_000, 2)
    x[:, 0] = x[:, 0].abs()
    state, _ = run(kernel, energy, x, 20, seeded())
    assert stats.kstest(state.x[:, 0].numpy(), "halfnorm").pvalue > P_VALUE
    assert stats.kstest(state.x[:, 1].numpy(), "norm").pvalue > P_VALUE
    assert not torch.equal(state.x, x)


def test_every_part_of_a_proposal_must_be_finite() -> None:
    here = State(torch.zeros(6, 2), torch.zeros(6), torch.zeros(6, 2), {})
    energy, grad, log_ratio = torch.zeros(6), torch.zeros(6, 2), torch.zeros(6)
    energy[0], energy[1], grad[2, 1], grad[3, 0], log_ratio[4] = math.nan, -math.inf, math.nan, math.inf, math.nan
    state, info = accept_reject(here, State(torch.ones(6, 2), energy, grad, {}), log_ratio, seeded())
    assert info.accept.tolist() == [0, 0, 0, 0, 0, 1]
    assert state.x[:, 0].tolist() == [0, 0, 0, 0, 0, 1]
    assert state.energy is not None
    assert state.grad is not None
    assert state.energy.isfinite().all()
    assert state.grad.isfinite().all()


@pytest.mark.parametrize("kernel", [Langevin(2.5), Underdamped(2.5)], ids=name_of)
def test_an_unstable_step_without_a_correction_stays_visible(kernel: Kernel) -> None:
    state, _ = run(kernel, harmonic, normal(4, 1), 2000, seeded())
    assert not state.x.isfinite().any()


@pytest.mark.parametrize("kernel", [MALA(), HMC(), Metropolis(), Underdamped()], ids=name_of)
def test_a_state_without_what_the_kernel_needs_is_refused(kernel: Kernel) -> None:
    state = Langevin().init(harmonic, normal(2, 2), seeded())._replace(aux={"velocity": normal(2, 2)})
    with pytest.raises(ValueError, match=r"state holds no (energy|gradient)"):
        kernel.step(harmonic, state, seeded())


# Loops


@pytest.mark.parametrize("kernel", KERNELS, ids=name_of)
def test_trace_keeps_every_thin_th_position_of_the_same_chain(kernel: Kernel) -> None:
    done: list[int] = []
    x = TARGETS[1].sample(5)
    draws, info = trace(kernel, TARGETS[1].energy, x, 12, 3, seeded(), done.append)
    assert draws.shape == (4, 5, 2)
    assert done == [3, 6, 9, 12]
    for i, position in enumerate(draws):
        state, expected = run(kernel, TARGETS[1].energy, x, 3 * (i + 1), seeded())
        assert torch.equal(position, state.x)
    assert torch.equal(info.accept, expected.accept)


@pytest.mark.parametrize(
    ("n_steps", "thin", "message"), [(4, 0, "^thin must be >= 1"), (5, 2, "^n_steps must be a mul")]
)
def test_trace_refuses_what_does_not_divide(n_steps: int, thin: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trace(MALA(), harmonic, normal(2, 2), n_steps, thin, seeded())


def test_info_is_the_mean_over_the_steps() -> None:
    kernel, rng = MALA(0.8), seeded()
    state, accepts = kernel.init(harmonic, normal(4, 2), rng), []
    for _ in range(5):
        state, info = kernel.step(harmonic, state, rng)
        accepts.append(info.accept)
    end, mean = run(kernel, harmonic, normal(4, 2), 5, seeded())
    assert torch.equal(end.x, state.x)
    torch.testing.assert_close(mean.accept, torch.stack(accepts).mean(0))
    assert run(kernel, harmonic, normal(4, 2), 0, seeded())[1].accept.isnan().all()


def test_a_schedule_replaces_fields_step_by_step() -> None:
    x, rng = normal(4, 2), seeded()
    eps = (0.1, 0.4, 0.2)
    state = MALA().init(harmonic, x, rng)
    for e in eps:
        state, _ = MALA(e, 3.0).step(harmonic, state, rng)
    end, _ = run(MALA(), harmonic, x, 3, seeded(), lambda i: {"step_size": eps[i], "temperature": 3.0})
    assert torch.equal(end.x, state.x)
    with pytest.raises(TypeError, match="stepsize"):
        run(MALA(), harmonic, x, 1, seeded(), lambda i: {"stepsize": 1.0})


def test_geometric_schedule() -> None:
    schedule = geometric(5, step_size=(1.0, 0.0625), temperature=(3.0, 3.0))
    steps = [schedule(i) for i in range(7)]
    assert [s["step_size"] for s in steps] == pytest.approx([1.0, 0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0625])
    assert [s["temperature"] for s in steps] == pytest.approx([3.0] * 7)
    with pytest.raises(ValueError, match=r"^temperature must be > 0"):
        geometric(5, temperature=(1.0, 0.0))
    with pytest.raises(ValueError, match=r"^n_steps must be >= 2"):
        geometric(1, temperature=(2.0, 1.0))


# Adaptation


@pytest.mark.parametrize("factor", [0.02, 20.0])
@pytest.mark.parametrize("kernel", [MALA(), HMC(n_leapfrog=4), Metropolis()], ids=name_of)
def test_adaptation_reaches_the_kernels_own_acceptance(kernel: Kernel, factor: float) -> None:
    scales = torch.linspace(0.5, 2.0, 5, dtype=torch.float64)

    def energy(x: Tensor) -> Tensor:
        return harmonic(x / scales)

    start = replace(kernel, step_size=factor * kernel.step_size)
    adapted, state = adapt(start, energy, scales * normal(400, 5), 200, seeded())
    assert adapted == replace(kernel, step_size=adapted.step_size)
    _, info = run(adapted, energy, state.x, 100, seeded())
    assert float(info.accept.mean()) == pytest.approx(kernel.target_accept, abs=0.03)


def test_adaptation_to_a_given_acceptance() -> None:
    adapted, state = adapt(MALA(), harmonic, normal(400, 5), 200, seeded(), target=0.8)
    assert float(run(adapted, harmonic, state.x, 100, seeded())[1].accept.mean()) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("n_steps", [1, 6])
def test_adaptation_is_dual_averaging(n_steps: int) -> None:
    """Where every step is accepted the mean error after m steps is m (δ − 1)/(m + 10), and eq. (6) is a sum."""

    def averaged(log_eps: float, mu: float, gamma: float, n: int) -> float:
        for m in range(1, n + 1):
            found = mu - math.sqrt(m) / gamma * (0.97 - 1) * m / (m + 10)
            log_eps = m**-0.75 * found + (1 - m**-0.75) * log_eps
        return log_eps

    half = n_steps // 2
    coarse = averaged(math.log(0.3), math.log(3.0), 0.05, half)
    expected = averaged(coarse, coarse, 0.5, n_steps - half)
    start = Metropolis(step_size=0.3)
    adapted, _ = adapt(start, lambda x: 0 * x.sum(1), normal(4, 2), n_steps, seeded(), target=0.97)
    assert math.log(adapted.step_size) == pytest.approx(expected, rel=1e-12)


def test_adaptation_goes_through_its_schedule_in_its_first_half() -> None:
    seen: list[int] = []

    def schedule(step: int) -> dict[str, float]:
        seen.append(step)
        return {"temperature": 2.0}

    adapt(MALA(), harmonic, normal(4, 2), 7, seeded(), schedule=schedule)
    assert seen == [0, 1, 2]


def test_baoab_leaves_a_gaussian_where_its_step_is_two_deviations() -> None:
    assert Underdamped(1.99).stationary_variance(1.0) == 1.0
    assert Underdamped(2.0).stationary_variance(1.0) == math.inf


def test_adaptation_on_a_flat_energy_stays_finite() -> None:
    adapted, _ = adapt(Metropolis(), lambda x: 0 * x.sum(1), normal(1, 1), 2800, seeded(), target=0.01)
    assert math.isfinite(adapted.step_size)


@pytest.mark.parametrize("kernel", [Langevin(), Underdamped()], ids=name_of)
def test_a_kernel_without_a_correction_is_not_adapted(kernel: Kernel) -> None:
    with pytest.raises(ValueError, match="no acceptance test"):
        adapt(kernel, harmonic, normal(4, 2), 10, seeded(), target=0.5)


@pytest.mark.parametrize(
    ("n_steps", "target", "message"), [(10, 1.0, "^target must be in"), (0, None, "^n_steps must")]
)
def test_adaptation_refuses_numbers_out_of_range(n_steps: int, target: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adapt(MALA(), harmonic, normal(4, 2), n_steps, seeded(), target)


# Numbers and configs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Langevin(step_size=-1.0), r"^step_size must be > 0, got -1\.0$"),
        (lambda: Langevin(noise_scale=-0.1), "^noise_scale must be >= 0"),
        (lambda: Langevin(noise_scale=math.nan), "^noise_scale must be >= 0"),
        (lambda: Langevin(clamp_grad=0.0), "^clamp_grad must be > 0"),
        (lambda: Langevin(clamp_sample=-1.0), "^clamp_sample must be > 0"),
        (lambda: MALA(step_size=0.0), "^step_size must be > 0"),
        (lambda: MALA(temperature=0.0), "^temperature must be > 0"),
        (lambda: HMC(n_leapfrog=0), "^n_leapfrog must be >= 1"),
        (lambda: HMC(step_size=math.nan), "^step_size must be > 0"),
        (lambda: Metropolis(step_size=math.inf), "^step_size must be finite"),
        (lambda: Underdamped(friction=0.0), "^friction must be > 0"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Callable[[], Kernel], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("path", CONF, ids=lambda p: p.stem)
def test_config_keys_are_the_constructors(path: Path) -> None:
    text = path.read_text()
    keys = yaml.safe_load(text)
    (kernel,) = (k for k in KERNELS if keys["_target_"] == f"{type(k).__module__}.{type(k).__qualname__}")
    defaults = {name: p.default for name, p in inspect.signature(type(kernel)).parameters.items()}
    assert {k: v for k, v in keys.items() if k != "_target_"} == defaults
    header, _, *lines = text.splitlines()
    assert header.startswith("# ")
    assert len(lines) + 2 <= 12
    assert all("#" in line for line in lines)


def test_every_kernel_has_a_config() -> None:
    assert {p.stem for p in CONF} == {type(k).__module__.rpartition(".")[2] for k in KERNELS}
