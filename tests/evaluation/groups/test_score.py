"""The metric group `score`: it needs no log Z, and asks for none."""

import pytest

from ebm_cli.datasets import Gaussian, Synthetic
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation import context
from tests.evaluation.toys import Rows, small_evaluation
from tests.support import normal


def test_keys_are_those_of_the_score() -> None:
    found = small_evaluation(Quadratic((3,)), Synthetic(Gaussian(3)), "score").results
    assert list(found.values) == ["eval/fisher", "eval/fisher_flat", "eval/ksd", "eval/ksd_p"]


def test_score_alone_does_not_anneal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "anneal", lambda *arguments, **keys: 1 / 0)
    assert "eval/ksd" in small_evaluation(Quadratic((3,)), Synthetic(Gaussian(3)), "score").results.values


def test_unknown_data_have_a_stein_discrepancy_alone() -> None:
    found = small_evaluation(Quadratic((2,)), Rows(normal(100, 2, seed=0).float()), "score").results
    assert list(found.values) == ["eval/ksd", "eval/ksd_p"]


def test_ksd_sees_a_wrong_scale() -> None:
    data = Synthetic(Gaussian(3))
    right, wrong = (small_evaluation(Quadratic((3,), precision=k), data, "score", n_samples=500) for k in (1.0, 3.0))
    assert right.results.values["eval/ksd_p"] > 0.01
    assert wrong.results.values["eval/ksd_p"] == 1 / 501


def test_equal_rows_have_no_stein_discrepancy() -> None:
    found = small_evaluation(Quadratic((2,)), Rows(normal(1, 2, seed=0).float().expand(20, 2)), "score").results
    assert "eval/ksd" not in found.values
    assert found.absent["eval/ksd"].startswith("data must have at least two different rows")
