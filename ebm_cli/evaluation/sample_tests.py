"""The tests between a model and held-out rows, in one word and one clause: the distances that have a p-value.

A sentence never says more than was tested: with few rows only some of the tests run, and the kernel Stein discrepancy
alone, which compares the score of the model with the rows, barely sees the weights of separate modes.
"""

from typing import NamedTuple

from ebm_cli.evaluation.result_description import SAMPLES, SCORE, P, Result
from ebm_cli.evaluation.result_registry import QUALITIES, verdict
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Values, number
from ebm_cli.evaluation.verdicts import MANY_NULLS, NULLS

ACCURACIES = (0.6, 0.75)
"""Accuracies of the classifier test up to which samples that differ are close, fair."""
FIRST = "eval/mmd"
"""Key under which the distances of samples are absent, all for one reason."""


class Tested(NamedTuple):
    """The word that the tests allow at best, and a clause that names them."""

    word: str
    why: str


def sample_tests(results: Results) -> Tested | None:
    """The tests of a run; None where none was made."""
    values = results.values
    tested = [
        result for result in QUALITIES if P in result.companions and number(values, f"{result.key}{P}") is not None
    ]
    tested = [result for result in tested if result.key in values]
    if not tested:
        return None
    others = _too_few_rows_for(results)
    missing = f" (too few rows for {_listed(others)})" if others else ""
    differing = [result for result in tested if verdict(result.key, values).good is False]
    if differing:
        names = ", ".join(f"{result.label} (p {number(values, f'{result.key}{P}'):.2g})" for result in differing)
        sizes = (_size(result.key, values) for result in differing)
        order = ("close", "fair", "poor")
        return Tested(max(sizes, key=order.index), f"samples differ from held-out rows in {names}{missing}")
    named = (
        f"{_listed([r.label for r in tested])} {'does' if len(tested) == 1 else 'do'} not tell the model from the rows"
    )
    if others:
        return Tested("close", f"{named}{missing}")
    if all(result.section == SCORE for result in tested):
        return Tested("close", f"{named} (no samples were compared, and this test barely sees the weights of modes)")
    return Tested("right", "no test tells its samples from held-out rows")


def _too_few_rows_for(results: Results) -> list[str]:
    """Labels of the tests that are missing because rows are too few."""

    def is_missing(result: Result) -> bool:
        reason = results.absent.get(FIRST if result.section == SAMPLES else result.key, "")
        return P in result.companions and result.key not in results.values and "too few" in reason

    return [result.label for result in QUALITIES if is_missing(result)]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _size(key: str, values: Values) -> str:
    """The word for a distance that differs significantly, by its size."""
    value, null = number(values, key), number(values, f"{key}_null")
    assert value is not None
    if key == "eval/c2st":
        bounds: tuple[float, float] = ACCURACIES
    elif null:
        value, bounds = value / null, (NULLS, MANY_NULLS)
    else:
        return "close"
    return "close" if value <= bounds[0] else "fair" if value <= bounds[1] else "poor"
