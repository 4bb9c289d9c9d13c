"""The value function of a classifier of data and noise, and its best classifier."""

import math
from pathlib import Path

import pytest
import torch

from ebm_cli.lecture import ValueFunction, value_function
from ebm_cli.lecture.value_function import CELLS, EQUILIBRIUM, REACH, Classifiers, values
from ebm_cli.reporting.figures.chart import empty_chart
from tests.claims.records import make_record
from tests.lecture.measurements import passed


def classifiers(shift: float, error: float = 0.0) -> Classifiers:
    """N(0, 0.16) against N((shift, 0), 0.16) on the grid; the log-odds of D are off by `error`."""
    axis = (torch.arange(CELLS, dtype=torch.float64) + 0.5) * (2 * REACH / CELLS) - REACH
    u = torch.cartesian_prod(axis, axis)
    log_p, log_q = (
        -(u - torch.tensor([place, 0.0])).square().sum(1) / 0.32 - math.log(2 * math.pi * 0.16)
        for place in (0.0, shift)
    )
    return Classifiers(log_p, log_q, log_p - log_q + error)


def test_value_is_minus_2_log_2_where_noise_is_data() -> None:
    assert classifiers(0).value(torch.zeros(CELLS**2)) == pytest.approx(EQUILIBRIUM)


def test_value_of_separate_data_and_noise_is_0() -> None:
    found = classifiers(4.0)
    assert found.value(found.h) == pytest.approx(0, abs=1e-4)


def test_no_classifier_beats_the_ratio_of_the_densities() -> None:
    found = classifiers(0.4)
    best = found.value(found.log_p - found.log_q)
    assert EQUILIBRIUM < best < 0
    for error in (-0.5, -0.05, 0.05, 0.5):
        assert found.value(found.h + error) < best


def test_distance_is_that_of_the_probabilities() -> None:
    assert classifiers(0.4).distance() == 0
    assert classifiers(0, error=math.log(3)).distance() == pytest.approx(0.25)


def test_value_along_training_has_the_turns_of_both(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss_flow": -1.2}\n{"step": 2, "train/loss": 1.3}\n')
    assert values(make_record({})._replace(path=tmp_path)) == [(1, -1.2), (2, -1.3)]


@pytest.mark.parametrize(("shift", "error", "good"), [(0.4, 0.0, True), (0.4, 1.0, False)])
def test_classifier_that_is_off_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: float, error: float, good: bool
) -> None:
    found = {"nce": classifiers(shift, error), "fce": classifiers(0.1)}
    runs = []
    for method, one in found.items():
        (tmp_path / method).mkdir()
        line = f'{{"step": 1, "train/loss": {-one.value(one.h)}}}\n'
        (tmp_path / method / "metrics.jsonl").write_text(line)
        config = {"method": {"threshold": 0.6}}
        runs.append(make_record({})._replace(path=tmp_path / method, hydra_choices={"method": method}, config=config))
    monkeypatch.setattr(value_function, "load", lambda path: path.name)
    monkeypatch.setattr(value_function, "classifiers", found.__getitem__)
    claim = ValueFunction(distance=0.05, value=0.05)
    outcome = claim.measure(runs)
    verdicts = passed(outcome)
    assert (verdicts.pop("D is p/(p + q)"), verdicts.pop("V is 2 JSD − 2 log 2")) == (good, good)
    assert all(verdicts.values())
    figure = empty_chart()
    claim.draw(figure, outcome)
    assert [ax.get_title() for ax in figure.axes[1:4]] == ["nce: p/(p + q)", "nce: learned D", "fce: learned D"]
