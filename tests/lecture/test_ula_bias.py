"""The bias of unadjusted Langevin dynamics against its closed form."""

from dataclasses import replace

import pytest

from ebm_cli.lecture import UlaBias
from ebm_cli.samplers import MALA
from tests.lecture.measurements import passed

SMALL = UlaBias(std=2.0, step_sizes=[0.3, 1.2], n_chains=4000, n_steps=60, seed=0)


def test_variances_agree_with_closed_forms() -> None:
    outcome = SMALL.measure([])
    assert passed(outcome) == {"ULA": True, "MALA": True}
    assert [row["ULA theory"] for row in outcome.rows] == pytest.approx([1 / 0.85, 1 / 0.4])
    assert [row["MALA theory"] for row in outcome.rows] == [1.0, 1.0]


def test_chain_without_metropolis_test_is_not_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: ULA judged as if it were exact fails."""
    monkeypatch.setattr("ebm_cli.lecture.ula_bias.Langevin.stationary_variance", MALA.stationary_variance)
    monkeypatch.setattr("ebm_cli.lecture.ula_bias.Langevin.target_accept", 0.574)
    assert passed(SMALL.measure([])) == {"ULA": False, "MALA": True}


@pytest.mark.parametrize("steps", [[], [0.0], [2.0]])
def test_steps_that_diverge_are_refused(steps: list[float]) -> None:
    with pytest.raises(ValueError, match="step_sizes must be multiples"):
        replace(SMALL, step_sizes=steps)
