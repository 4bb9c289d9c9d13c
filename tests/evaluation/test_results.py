"""Results: merging, and numbers that are not finite."""

import math

import pytest

from ebm_cli.evaluation.results import Results


def test_results_merge_values_reasons_and_notes() -> None:
    merged = Results({"a": 1.0}, {"b": "why"}, ("first",)) | Results({"c": "text"}, {"d": "because"}, ("second",))
    assert merged == Results({"a": 1.0, "c": "text"}, {"b": "why", "d": "because"}, ("first", "second"))


def test_a_merged_value_replaces_another_in_its_place() -> None:
    merged = Results({"a": 1.0, "b": 2.0}) | Results({"c": 3.0, "a": 4.0})
    assert list(merged.values.items()) == [("a", 4.0), ("b", 2.0), ("c", 3.0)]


def test_a_merged_note_appears_once() -> None:
    assert (Results(notes=("a", "b")) | Results(notes=("b", "c"))).notes == ("a", "b", "c")


def test_merging_changes_neither_side() -> None:
    left, right = Results({"a": 1.0}, {"a": "why"}), Results({"b": 1.0}, {"b": "why"})
    assert (left | right) | Results() == left | right
    assert (left, right) == (Results({"a": 1.0}, {"a": "why"}), Results({"b": 1.0}, {"b": "why"}))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_absent(bad: float) -> None:
    found = Results({"a": bad, "b": 1.0, "c": "nan", "d": 3}, {"e": "why"}, ("note",)).finite()
    assert found == Results({"b": 1.0, "c": "nan", "d": 3}, {"e": "why", "a": f"its value is {bad}"}, ("note",))
