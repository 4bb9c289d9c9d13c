"""The checks of the samplers: each way to be broken fails, and what cannot be measured is skipped."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from ebm_cli.derivatives import value_and_grad
from ebm_cli.samplers import EnergyFn, Info, Kernel, State, mala
from ebm_cli.samplers.acceptance import accept_reject
from ebm_cli.samplers.base import energy_of, grad_of, normal_like
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.selftest import failures
from ebm_cli.selftest.samplers import kernel_facts


class Sound(Kernel):
    """MALA; each broken kernel overrides a part of it."""

    target_accept = 0.574

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        return State(x.detach(), *value_and_grad(energy, x), {})

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        return MALA(self.step_size, self.temperature).step(energy, state, rng)


@dataclass(frozen=True)
class Uphill(Sound):
    """MALA with the wrong sign: climbs the energy, and accepts as if it descended."""

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        _, info = MALA(self.step_size, self.temperature).step(energy, state, rng)
        x = state.x + self.step_size * grad_of(state) + math.sqrt(2 * self.step_size) * normal_like(state.x, rng)
        value, grad = value_and_grad(energy, x)
        return accept_reject(state, State(x, value, grad, {}), info.accept.log(), rng)


@dataclass(frozen=True)
class IgnoresTemperature(Sound):
    """Always samples at T = 1."""

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        return MALA(self.step_size).step(energy, state, rng)


@dataclass(frozen=True)
class StandsStill(Sound):
    """Never moves, but reports an acceptance rate."""

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        return state, Info(torch.full_like(energy_of(state), 0.574))


@dataclass(frozen=True)
class Drifts(Sound):
    """The Metropolis test of a symmetric proposal, with a proposal that is not symmetric."""

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        x = state.x + self.step_size * (normal_like(state.x, rng) + 0.1)
        value, grad = value_and_grad(energy, x)
        return accept_reject(state, State(x, value, grad, {}), energy_of(state) - value, rng)


@dataclass(frozen=True)
class HalfTheNoise(Sound):
    """Langevin with √eps for √(2 eps); states the variance of Langevin."""

    target_accept = None

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        return Langevin(self.step_size, self.temperature, math.sqrt(0.5)).step(energy, state, rng)

    def stationary_variance(self, variance: float) -> float | None:
        return Langevin(self.step_size, self.temperature).stationary_variance(variance)


@dataclass(frozen=True)
class Raises(Sound):
    """Raises in every step."""

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        raise RuntimeError("out of\nmemory")


COLD, HOT, MEMORY = "mean and variance at T = 1", "mean and variance at T = 2", "memory after 20 steps"
MIXTURE = "distribution, mixture"


@pytest.mark.parametrize(
    ("kernel", "failed"),
    [
        (Uphill, {COLD, HOT, MIXTURE}),
        (IgnoresTemperature, {HOT}),
        (StandsStill, {MEMORY}),
        (Drifts, {COLD, HOT, MIXTURE}),
        (HalfTheNoise, {COLD, HOT}),
    ],
)
def test_broken_sampler_fails(subject: Callable[..., dict[str, str]], kernel: type, failed: set[str]) -> None:
    found = subject("samplers", "sampler", kernel, step_size=0.05)
    # A chain whose proposals are mostly rejected is also slow.
    assert failed <= {what for what, outcome in found.items() if outcome == "FAILED"} <= failed | {MEMORY}
    assert set(found) == {COLD, HOT, MEMORY, MIXTURE}


def test_mala_without_its_correction_fails(
    subject: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(subject("samplers", "sampler", MALA).values()) == {"ok"}

    def always(state: State, proposal: State, log_ratio: Tensor, rng: torch.Generator) -> tuple[State, Info]:
        return proposal, accept_reject(state, proposal, log_ratio, rng)[1]

    monkeypatch.setattr(mala, "accept_reject", always)
    assert subject("samplers", "sampler", MALA)[COLD] == "FAILED"


def test_exception_in_a_sampler_is_a_failed_row(subject: Callable[..., dict[str, str]]) -> None:
    assert subject("samplers", "sampler", Raises, step_size=0.1) == {"RuntimeError: out of": "FAILED"}
    found = subject("samplers", "sampler", MALA, stepsize=0.1)
    assert found == {"sampler.stepsize: no such key in MALA; did you mean step_size?": "FAILED"}


@pytest.mark.parametrize("keys", [{"clamp_grad": 1.0}, {"noise_scale": 0.0}], ids=["unknown bias", "no noise"])
def test_sampler_without_a_stated_variance_is_skipped(
    subject: Callable[..., dict[str, str]], keys: dict[str, float]
) -> None:
    assert set(subject("samplers", "sampler", Langevin, step_size=0.1, **keys).values()) == {"skipped"}


def test_sampler_with_an_unstable_step_fails(subject: Callable[..., dict[str, str]]) -> None:
    found = subject("samplers", "sampler", Langevin, step_size=2.5)
    assert found == {"ValueError: step_size 2.5 is too long for N(0, I)": "FAILED"}


def test_failures_lists_the_facts_that_a_kernel_fails() -> None:
    """The two lines with which users test their own kernels."""
    assert failures(kernel_facts(MALA(0.05))) == []
    assert [fact.what for fact in failures(kernel_facts(StandsStill(0.05)))] == [MEMORY]
