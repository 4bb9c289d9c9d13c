"""The density ratio over bridges against its closed form."""

from dataclasses import replace

import pytest

from ebm_cli.lecture import TelescopedRatio
from tests.lecture.measurements import passed

SMALL = TelescopedRatio(std=1e-6, n_rows=4000, n_bridges=[1, 4], repetitions=2, seed=0, at_most=0.6)


def test_bridges_find_the_ratio_and_one_classifier_does_not() -> None:
    outcome = SMALL.measure([])
    assert passed(outcome) == {"one ratio fails": True, "bridges learn it": True}
    assert outcome.drawn["truth"] == pytest.approx(13.8155, abs=1e-4)


def test_waymarks_that_are_not_mixed_do_not_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: rows in place of waymarks, so that the last bridge is as long as one ratio."""
    monkeypatch.setattr(
        "ebm_cli.lecture.telescoped_ratio.waymarks", lambda x, y, alphas: [x + 0 * a for a in alphas[:-1]] + [y]
    )
    assert passed(SMALL.measure([]))["bridges learn it"] is False


@pytest.mark.parametrize("bridges", [[], [1, 2], [0, 1, 4]])
def test_numbers_of_bridges_that_cannot_be_judged_are_refused(bridges: list[int]) -> None:
    with pytest.raises(ValueError, match="n_bridges must be numbers >= 1"):
        replace(SMALL, n_bridges=bridges)
