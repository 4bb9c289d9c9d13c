"""Kernels with a correction leave their target invariant.

Chains start at exact samples, so that the last position of each chain is an exact independent sample again. The
tolerance is five standard errors. Every statement of exactness has a control, a wrong kernel or a wrong start, that
fails the same test.
"""

import math
from dataclasses import replace
from itertools import combinations

import pytest
from torch import Tensor

from ebm_cli.samplers import Kernel, run
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from ebm_cli.samplers.underdamped import Underdamped
from ebm_cli.selftest.invariance import harmonic, invariance
from tests.samplers.targets import (
    CORRECTED,
    GAUSSIAN,
    SIGMAS,
    TARGETS,
    Target,
    break_correction,
    deviation_of_variance,
    name_of,
)
from tests.support import normal, seeded


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("kernel", CORRECTED, ids=name_of)
def test_corrected_kernels_keep_exact_samples_exact(kernel: Kernel, target: Target) -> None:
    start = target.sample(20_000)
    fact, _ = invariance(kernel, target.energy, start, target.deviation, seeded())
    assert fact.bound == SIGMAS
    assert fact.holds
    _, info = run(kernel, target.energy, start, 20, seeded())
    assert 0.1 < float(info.accept.mean()) < 0.95


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("kernel", CORRECTED, ids=name_of)
def test_control_kernels_without_correction_do_not(
    kernel: Kernel, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_correction(monkeypatch)
    fact, _ = invariance(kernel, target.energy, target.sample(20_000), target.deviation, seeded())
    assert not fact.holds


@pytest.mark.parametrize("kernel", CORRECTED, ids=name_of)
def test_corrected_kernels_forget_a_wrong_start(kernel: Kernel) -> None:
    wrong = 2.0 + GAUSSIAN.sample(20_000)
    assert GAUSSIAN.deviation(wrong) > SIGMAS
    assert invariance(kernel, GAUSSIAN.energy, wrong, GAUSSIAN.deviation, seeded(), n_steps=80)[0].holds


@pytest.mark.parametrize("kernel", [MALA(0.5), HMC(0.7, n_leapfrog=3), Metropolis(1.0), Underdamped(0.8)], ids=name_of)
def test_temperature_two_doubles_the_variance(kernel: Kernel) -> None:
    start = math.sqrt(2) * normal(100_000, 1)
    state, _ = run(replace(kernel, temperature=2.0), harmonic, start, 20, seeded())
    assert deviation_of_variance(state.x, 2.0) < SIGMAS
    state, _ = run(kernel, harmonic, start, 20, seeded())
    assert deviation_of_variance(state.x, 2.0) > SIGMAS


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
@pytest.mark.parametrize("kernel", CORRECTED, ids=name_of)
def test_corrected_kernels_obey_detailed_balance(
    kernel: Kernel, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asymmetry(kernel, target) < SIGMAS
    # Control: without the correction they do not.
    break_correction(monkeypatch)
    assert asymmetry(kernel, target) > SIGMAS
