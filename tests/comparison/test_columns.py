"""Columns: the value of a run, its reference, and which values are better."""

import pytest

from ebm_cli.comparison.columns import COSTS, QUALITIES, column_of
from ebm_cli.runs.record import Record, find
from tests.comparison.support import Runs


def record_of(runs: Runs, results: dict[str, object]) -> Record:
    runs.write(results=results)
    return find(runs.root)[-1]


def test_default_columns_begin_with_kl_and_steps() -> None:
    assert [column.key for column in QUALITIES[:2]] == ["eval/kl", "eval/nll"]
    assert [column.key for column in COSTS][:2] == ["cost/steps", "cost/seconds"]


def test_value_of_steps_is_that_of_the_status(runs: Runs) -> None:
    assert column_of("cost/steps").value(record_of(runs, {})) == 100.0


def test_value_of_a_gap_is_its_size(runs: Runs) -> None:
    gap = column_of("eval/log_z_gap")
    assert gap.value(record_of(runs, {"eval/log_z_gap": -0.3})) == 0.3
    assert (gap.label, gap.meaning) == ("|log Z gap|", "|trained log Z − independent log Z|, nats")


@pytest.mark.parametrize(
    ("key", "better", "worse", "phrase"),
    [("eval/kl", 0.1, 0.2, "the lowest"), ("eval/coverage", 0.9, 0.8, "the highest")],
)
def test_loss_is_lower_for_better_values(key: str, better: float, worse: float, phrase: str) -> None:
    column = column_of(key)
    assert column.loss(better) < column.loss(worse)
    assert (column.is_ranked, column.superlative) == (True, phrase)


def test_loss_of_c2st_is_its_distance_from_one_half() -> None:
    column = column_of("eval/c2st")
    assert column.loss(0.5) < column.loss(0.4) == pytest.approx(column.loss(0.6))
    assert column.superlative == "the nearest to 0.5"


def test_reference_is_the_null_or_one_half(runs: Runs) -> None:
    with_null, without = record_of(runs, {"eval/c2st_null": 0.52}), record_of(runs, {})
    assert column_of("eval/c2st").reference(with_null) == 0.52
    assert column_of("eval/c2st").reference(without) == 0.5
    assert column_of("eval/mmd").reference(without) is None


def test_column_of_an_unknown_key_has_its_name() -> None:
    column = column_of("eval/calibration")
    assert (column.label, column.meaning, column.is_ranked) == ("calibration", "", True)
    assert not column_of("sampler/swaps").is_ranked
