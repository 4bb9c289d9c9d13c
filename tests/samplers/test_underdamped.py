"""Underdamped Langevin dynamics (BAOAB) on a Gaussian: positions are exact, velocities have a known bias."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.samplers import MCLMC, EnergyFn, State, adapt, run
from ebm_cli.samplers.underdamped import Underdamped
from ebm_cli.selftest.invariance import harmonic, invariance
from tests.samplers.targets import BANANA, SIGMAS, TARGETS, Target, deviation_of_variance
from tests.support import normal, seeded


def test_baoab_has_exact_positions_and_known_velocities() -> None:
    eps, var, temperature = 1.0, 0.8, 1.5
    kernel = Underdamped(eps, temperature, friction=1.0)
    state, _ = run(kernel, lambda x: harmonic(x) / var, math.sqrt(var * temperature) * normal(200_000, 1), 40, seeded())
    velocity = state.aux["velocity"]
    assert deviation_of_variance(state.x, var * temperature) < SIGMAS
    assert deviation_of_variance(velocity, temperature * (1 - eps**2 / (4 * var))) < SIGMAS
    assert deviation_of_variance(velocity, temperature) > SIGMAS
    assert abs(float((state.x * velocity).mean())) < SIGMAS * math.sqrt(var) * temperature / math.sqrt(200_000)


def test_control_another_order_of_the_same_parts_is_biased() -> None:
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


def test_baoab_is_unstable_from_twice_the_standard_deviation() -> None:
    assert Underdamped(1.99).stationary_variance(1.0) == 1.0
    assert Underdamped(2.0).stationary_variance(1.0) == math.inf


# With a Metropolis test, and tuned by the energy error


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_tested_steps_keep_exact_samples_exact(target: Target) -> None:
    kernel = Underdamped(0.7, friction=0.6, test_every=3)
    fact, _ = invariance(kernel, target.energy, target.sample(20_000), target.deviation, seeded(), n_steps=6)
    assert fact.holds
    assert 0.3 < float(run(kernel, target.energy, target.sample(500), 6, seeded())[1].accept.mean()) < 0.99


@pytest.mark.parametrize("broken", ["no test", "heat"])
def test_control_a_wrong_energy_error_breaks_the_test(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the test BAOAB has the bias of its step; a test on ΔH alone also rejects what friction and heat do."""
    moved = Underdamped._moved

    def wrong(self: Underdamped, energy: EnergyFn, state: State, rng: torch.Generator, measured: bool) -> object:
        after, _ = moved(self, energy, state, rng, measured)
        if broken == "no test":
            return after, torch.zeros_like(after.energy)
        before, v = (0.5 * a.aux["velocity"].square().sum(1) for a in (state, after))
        return after, after.energy - state.energy + v - before

    monkeypatch.setattr(Underdamped, "_moved", wrong)
    kernel, target = Underdamped(0.7, friction=0.6, test_every=3), BANANA
    assert not invariance(kernel, target.energy, target.sample(20_000), target.deviation, seeded(), n_steps=6)[0].holds


def test_energy_error_is_that_of_the_integrator_alone() -> None:
    """It grows with the sixth power of the step, whatever the friction."""
    means = []
    for eps in (0.2, 0.1):
        kernel = Underdamped(eps, friction=5.0, energy_error=1.0)
        state = kernel.init(BANANA.energy, BANANA.sample(4000), seeded())
        means.append(float(kernel.step(BANANA.energy, state, seeded())[0].aux["error"].square().mean()))
    assert math.log2(means[0] / means[1]) == pytest.approx(6, abs=0.6)


def test_tuning_measures_and_changes_no_step() -> None:
    plain, tuned = (run(Underdamped(energy_error=v), harmonic, normal(4, 3), 10, seeded())[0] for v in (None, 1.0))
    assert torch.equal(plain.x, tuned.x)


def test_burn_in_reaches_the_energy_error() -> None:
    scales = torch.logspace(-1, 1, 10, dtype=torch.float64)
    kernel = Underdamped(0.01, energy_error=1e-3, metric="diagonal")
    adapted, state = adapt(kernel, lambda x: harmonic(x / scales), normal(50, 10), 400, seeded())
    errors = []
    for i in range(60):
        state, _ = adapted.step(lambda x: harmonic(x / scales), state, seeded(i))
        errors.append(float(state.aux["error"].square().mean()) / 10)
    assert sum(errors) / len(errors) == pytest.approx(1e-3, rel=0.4)
    assert 0.1 < adapted.friction < 10


def test_two_phases_end_with_a_tested_kernel_at_its_rate() -> None:
    kernel = Underdamped(0.01, energy_error=1e-3, test_every=4)
    adapted, state = adapt(kernel, harmonic, 3 * normal(50, 10), 300, seeded())
    assert adapted.test_every == 4
    _, info = run(adapted, harmonic, state.x, 40, seeded())
    assert float(info.accept.mean()) == pytest.approx(0.8, abs=0.05)
    assert adapted.evaluations(5).grad == 21


def test_a_metric_that_nothing_would_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="needs energy_error or test_every"):
        Underdamped(metric="full")


def test_a_tested_step_stays_on_its_device() -> None:
    """On torch's meta device, which has no numbers."""
    kernel, x = Underdamped(test_every=2), torch.empty(4, 3, device="meta")
    state, info = kernel.step(harmonic, kernel.init(harmonic, x, seeded()), seeded())
    assert state.x.device == info.accept.device == x.device


@pytest.mark.parametrize("kernel", [Underdamped(0.1, energy_error=1e-3), MCLMC(0.1, energy_error=1e-3)])
def test_burn_in_leaves_steps_that_diverge_to_a_finite_energy(kernel: Underdamped | MCLMC) -> None:
    """In float32, where the square of such an error overflows: N(0, 10⁻¹⁰), from a step 10⁴ times its width."""
    width = 1e-5
    found, state = adapt(kernel, lambda x: harmonic(x / width), width * normal(20, 2).float(), 150, seeded())
    assert 0.1 * width < found.step_size < 2 * width
    assert float(state.x.abs().max()) < 6 * width
