"""Microcanonical Langevin: its turn is exact, its error has the stated order, and burn-in finds the step size."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ebm_cli.samplers import MALA, MCLMC, Tempering, adapt, run, trace
from ebm_cli.samplers import mclmc as mclmc_module
from ebm_cli.samplers.error_adaptation import MAX_SHIFT
from ebm_cli.samplers.mclmc import _turned
from ebm_cli.selftest.invariance import harmonic
from tests.samplers.targets import SIGMAS, deviation_of_variance
from tests.support import normal, seeded

DIM = 10


def directions(n: int) -> Tensor:
    u = normal(n, 4, seed=3)
    return u / u.norm(dim=1, keepdim=True)


def test_turn_solves_its_differential_equation() -> None:
    """du/dt = −P(u) g/(D − 1), and the kinetic energy grows by −u·g dt; compared with 2,000 midpoint steps."""
    g, u, n = 3 * normal(6, 4), directions(6), 2000
    end, kinetic = _turned(u, g, 0.7)
    dt, gained = 0.7 / n, torch.zeros(6, dtype=torch.float64)

    def slope(u: Tensor) -> Tensor:
        return -(g - u * (u * g).sum(1, keepdim=True)) / 3

    for _ in range(n):
        middle = u + 0.5 * dt * slope(u)
        gained = gained - dt * (middle * g).sum(1)
        u = u + dt * slope(middle)
    torch.testing.assert_close(end, u, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(kinetic, gained, rtol=1e-5, atol=1e-5)


def test_turn_in_a_steep_energy_points_downhill() -> None:
    for scale in (1e4, 1e30):
        g = scale * normal(6, 4)
        end, kinetic = _turned(directions(6), g, 1.0)
        torch.testing.assert_close(end, -g / g.norm(dim=1, keepdim=True))
        assert bool(kinetic.isfinite().all())


def test_without_a_gradient_the_direction_stays() -> None:
    end, kinetic = _turned(directions(6), torch.zeros(6, 4, dtype=torch.float64), 1.0)
    torch.testing.assert_close(end, directions(6))
    torch.testing.assert_close(kinetic, torch.zeros(6, dtype=torch.float64))


def mean_square_error(eps: float) -> float:
    kernel = MCLMC(eps)
    state = kernel.init(harmonic, normal(4000, DIM), seeded())
    return float(kernel.step(harmonic, state, seeded())[0].aux["error"].square().mean())


def test_variance_of_the_energy_error_grows_with_the_sixth_power() -> None:
    assert math.log2(mean_square_error(0.4) / mean_square_error(0.2)) == pytest.approx(6, abs=0.3)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_short_step_keeps_a_gaussian(temperature: float) -> None:
    start = math.sqrt(temperature) * normal(4000, DIM)
    state, _ = run(MCLMC(1.0, temperature), harmonic, start, 20, seeded())
    assert deviation_of_variance(state.x, temperature) < SIGMAS
    assert abs(float((state.x * start).mean())) < 0.5 * temperature
    torch.testing.assert_close(state.aux["direction"].norm(dim=1), torch.ones(4000, dtype=torch.float64))


def test_control_a_turn_for_another_dimension_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """With D + 1 in place of D − 1 the particle turns too little."""
    monkeypatch.setattr(mclmc_module, "_turned", lambda u, g, time: _turned(u, g, time * (DIM - 1) / (DIM + 1)))
    state, _ = run(MCLMC(1.0), harmonic, normal(4000, DIM), 20, seeded())
    assert deviation_of_variance(state.x, 1.0) > SIGMAS


def test_burn_in_reaches_the_energy_error_and_a_length() -> None:
    wanted = 1e-3
    kernel, state = adapt(MCLMC(0.01, energy_error=wanted), harmonic, 3 * normal(50, DIM), 400, seeded())
    errors = []
    for _ in range(100):
        state, _ = kernel.step(harmonic, state, seeded(len(errors)))
        errors.append(float(state.aux["error"].square().mean()) / DIM)
    assert sum(errors) / len(errors) == pytest.approx(wanted, rel=0.4)
    assert kernel.length is not None
    assert 0.4 * kernel.step_size <= kernel.length < 4 * math.sqrt(DIM)


def test_few_chains_in_a_narrow_place_do_not_decide_alone() -> None:
    """A quarter of the chains in a well of half the scale: their errors are 8 times as large at the same step."""

    def wells(x: torch.Tensor) -> torch.Tensor:
        narrow = x[:, 0] > 0
        return harmonic(torch.where(narrow.view(-1, 1), 2 * (x - 100), x + 100))

    found = {}
    for n_narrow in (0, 16):
        start = normal(64, DIM) - 100
        start[:n_narrow] = 100 + normal(n_narrow, DIM) / 2
        kernel, _ = adapt(MCLMC(0.2, length=3.0, energy_error=1e-3), wells, start, 200, seeded())
        found[n_narrow] = kernel.step_size
    # The mean of the squares would have (3/4 + 64/4)^(−1/6) = 0.63.
    assert found[16] / found[0] == pytest.approx((3 / 4 + 8 / 4) ** (-1 / 3), abs=0.03)


@pytest.mark.parametrize("n_chains", [1, 50])
def test_burn_in_in_float32_finds_the_step_from_far_away(n_chains: int) -> None:
    """Rounding errors of a step far too short are no measure of its energy error."""
    found = [
        adapt(MCLMC(eps), harmonic, normal(n_chains, DIM).float(), 400, seeded())[0].step_size for eps in (1e-3, 50.0)
    ]
    assert found[0] == pytest.approx(found[1], rel=0.4 if n_chains == 1 else 0.1)


def test_a_flat_energy_has_no_step_size() -> None:
    assert adapt(MCLMC(), lambda x: 0 * x.sum(1), normal(4, 2), 400, seeded())[0].step_size > 1e3


def test_burn_in_with_a_metric_undoes_scales() -> None:
    scales = torch.logspace(-1, 1, DIM, dtype=torch.float64)
    kernel, state = adapt(MCLMC(metric="diagonal"), lambda x: harmonic(x / scales), normal(50, DIM), 400, seeded())
    draws, _ = trace(kernel, lambda x: harmonic(x / scales), state.x, 200, 1, seeded())
    assert float((draws.square().mean((0, 1)) / scales.square() - 1).abs().max()) < 0.15
    round_, _ = adapt(MCLMC(), harmonic, normal(50, DIM), 200, seeded())
    assert kernel.step_size == pytest.approx(round_.step_size, rel=0.2)


def test_a_step_that_is_not_finite_is_not_taken_and_halved() -> None:
    def walled(x: Tensor) -> Tensor:
        return torch.where(x.abs().amax(1) < 5, harmonic(x), math.nan)

    kernel, state = adapt(MCLMC(100.0), walled, normal(20, 3), 200, seeded())
    assert bool(state.x.isfinite().all())
    assert 0.1 < kernel.step_size < 5


def test_a_chain_without_energy_leaves_the_steps_of_the_others() -> None:
    def walled(x: Tensor) -> Tensor:
        return torch.where(x.abs().amax(1) < 100, harmonic(x), math.inf)

    x = normal(20, DIM)
    alone, _ = adapt(MCLMC(), walled, x[1:], 400, seeded())
    x[0] = 1000.0
    found, state = adapt(MCLMC(), walled, x, 400, seeded())
    assert found.step_size == pytest.approx(alone.step_size, rel=0.1)
    assert bool(state.x[1:].isfinite().all())


def test_chains_without_energy_keep_the_step_size() -> None:
    kernel, _ = adapt(MCLMC(0.3), lambda x: harmonic(x) + math.inf, normal(4, 3), 60, seeded())
    assert kernel.step_size == pytest.approx(0.3)


@pytest.mark.slow
def test_steps_that_always_fail_end_at_a_shortest_step() -> None:
    calls = iter([0.0] + [math.nan] * 10_000)

    def once(x: Tensor) -> Tensor:
        return harmonic(x) + next(calls)

    kernel, _ = adapt(MCLMC(0.3), once, normal(4, 3), 4000, seeded())
    assert 0.29 / MAX_SHIFT**4 < kernel.step_size < 0.3


def test_one_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="mclmc needs points of at least two dimensions"):
        run(MCLMC(), harmonic, normal(4, 1), 1, seeded())
    for kernel in (MCLMC(), Tempering(kernel=MCLMC())):
        assert "two dimensions" in str(kernel.why_not(1))
        assert kernel.why_not(2) is None
    assert MALA().why_not(1) is None


def test_a_step_stays_on_its_device() -> None:
    """On torch's meta device, which has no numbers."""
    x = torch.empty(4, 3, device="meta")
    kernel = replace(MCLMC(), length=2.0)
    state, info = kernel.step(harmonic, kernel.init(harmonic, x, seeded()), seeded())
    assert state.x.device == state.aux["error"].device == info.accept.device == x.device
