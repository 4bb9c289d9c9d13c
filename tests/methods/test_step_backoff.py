"""Step-size back-off: its formula, its bound, and its state."""

import math

import pytest
import torch

from ebm_cli.methods.step_backoff import LOW_ACCEPTANCE, SHRINK_GAIN, UPDATE_EVERY, StepBackoff
from ebm_cli.samplers.mala import MALA

TARGET = 0.5


def after(acceptances: list[float], backoff: StepBackoff | None = None) -> StepBackoff:
    """The back-off after UPDATE_EVERY training steps of each mean acceptance, and the update that follows."""
    backoff, accepted = backoff or StepBackoff(TARGET), torch.zeros(())
    for acceptance in acceptances:
        for _ in range(UPDATE_EVERY):
            backoff.update(accepted)
            accepted += acceptance
    backoff.update(accepted)
    return backoff


def test_factor_shrinks_fast_and_grows_slowly() -> None:
    shrunk = SHRINK_GAIN * (0.1 - LOW_ACCEPTANCE * TARGET)
    assert after([0.1]).factor == pytest.approx(math.exp(shrunk))
    assert after([0.1, 0.45]).factor == pytest.approx(math.exp(shrunk + 0.45 - LOW_ACCEPTANCE * TARGET))


def test_factor_is_at_most_one() -> None:
    backoff = after([0.9, 0.9])
    assert backoff.factor == 1
    kernel = MALA()
    assert backoff.apply(kernel) is kernel


def test_factor_ignores_an_acceptance_that_is_not_finite() -> None:
    assert after([math.nan]).factor == 1


def test_factor_of_a_kernel_without_target_stays_one() -> None:
    assert after([0.0, 0.0], StepBackoff(None)).factor == 1


def test_backoff_resumes_from_its_state() -> None:
    backoff, resumed = after([0.1]), StepBackoff(TARGET)
    resumed.load_state_dict(backoff.state_dict())
    assert (resumed.factor, resumed.n_steps) == (backoff.factor, backoff.n_steps)
    assert resumed.apply(MALA(step_size=0.2)).step_size == 0.2 * backoff.factor
