"""The limits of energy discrepancy, and perturbations of the wrong size."""

import math

import pytest

from ebm_cli.lecture import DiscrepancyLimits
from ebm_cli.methods import ED
from tests.lecture.measurements import passed

SMALL = DiscrepancyLimits(2.0, [0.001, 0.3, 1.0, 10_000.0], measured=1.0, n_rows=4000, seed=0)
HOLDS = {"the method has its closed form": True, "score matching as t → 0": True, "likelihood as t → ∞": True}


def test_limits_are_score_matching_and_likelihood() -> None:
    outcome = SMALL.measure([])
    assert passed(outcome) == HOLDS
    assert outcome.rows[2]["ED_t"] == pytest.approx(-0.2861, abs=5e-5)


def test_one_perturbation_in_place_of_two_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: rows that are perturbed with half of the variance."""
    monkeypatch.setattr(math, "sqrt", lambda value: (0.5 * value) ** 0.5)
    assert ED(t=2.0).t == 2.0
    assert passed(SMALL.measure([]))["the method has its closed form"] is False


@pytest.mark.parametrize("t", [[], [0.0, 1.0], [2.0, 1.0]])
def test_variances_of_perturbations_increase(t: list[float]) -> None:
    with pytest.raises(ValueError, match="t must be increasing"):
        DiscrepancyLimits(2.0, t, 1.0, 100, 0)
