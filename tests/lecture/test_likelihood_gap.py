"""The gap of the self-normalised objective, and a loss without its normalisation."""

import pytest

from ebm_cli.lecture import LikelihoodGap
from ebm_cli.methods import nce
from tests.lecture.measurements import passed

SMALL = LikelihoodGap([-0.7, 0.0, 0.5], widen=1.5, n_rows=20_000, seed=0)


def test_gap_is_its_closed_form() -> None:
    outcome = SMALL.measure([])
    assert passed(outcome) == {"the gap": True, "light tails are told": True}
    assert [row["e^δ − 1 − δ"] for row in outcome.rows] == pytest.approx([0.196585, 0.0, 0.148721], abs=1e-6)


def test_gap_with_log_z_of_the_wrong_sign_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    sound = nce.self_normalised
    monkeypatch.setattr(nce, "self_normalised", lambda f, s, log_z: sound(f, s, 2 * log_z))
    assert passed(SMALL.measure([]))["the gap"] is False
