"""Statistics, verdicts and the page of the benchmarks; the measurements themselves are not tested."""

import random
from typing import Any

import pytest

from tests.benchmarks.__main__ import FAMILIES, main
from tests.benchmarks.harness import (
    Agreement,
    Disagreement,
    Effort,
    Fact,
    Measurement,
    Row,
    Target,
    Variant,
    measure_times,
    require_agreement,
    stored_form,
)
from tests.benchmarks.notes import FAMILIES as SECTIONS
from tests.benchmarks.render import markdown, verdicts_of
from tests.benchmarks.stats import FEWEST, median_interval, ratios, slope
from tests.support import REPO


def test_median_interval_has_the_ranks_of_the_tables() -> None:
    # Ranks of the tables for 95 %: n = 6 (1, 6), 11 (2, 10), 25 (8, 18).
    for n, low, high in ((6, 1, 6), (11, 2, 10), (25, 8, 18)):
        assert median_interval(list(range(n, 0, -1)))[1:] == (low, high)
    assert median_interval([1.0] * FEWEST).median == 1.0
    with pytest.raises(ValueError, match="6 values or more, got 5"):
        median_interval([1.0] * 5)


def test_median_interval_covers_a_skewed_distribution() -> None:
    rng = random.Random(0)
    draws = [median_interval([rng.expovariate(1.0) for _ in range(15)]) for _ in range(2000)]
    covered = sum(low <= 0.6931 <= high for _, low, high in draws) / 2000
    # The exact coverage of ranks 4 and 12 of 15 is 0.965; the standard error of 2,000 trials is 0.004.
    assert abs(covered - 0.965) < 0.02


def test_ratios_divide_within_a_round() -> None:
    """A round in which every variant is ten times slower changes the medians, but not the ratio."""
    ours, peer = [1.0, 10.0, 1.0, 1.0, 10.0, 1.0], [3.0, 30.0, 3.0, 3.0, 30.0, 3.0]
    assert ratios(ours, peer) == (3.0, 3.0, 3.0)


def test_slope_is_the_exponent_of_a_power_law() -> None:
    x = [1.0, 4.0, 16.0, 64.0]
    assert slope(x, [5 * value**1.5 for value in x]) == pytest.approx(1.5)


def test_disagreement_ends_a_row() -> None:
    assert require_agreement([Agreement("loss", 1e-7, 1e-5)]) == [Agreement("loss", 1e-7, 1e-5)]
    for difference in (1e-4, float("nan")):
        with pytest.raises(Disagreement, match="loss"):
            require_agreement([Agreement("loss", difference, 1e-5)])


def test_times_are_those_of_a_unit_of_work() -> None:
    seen: list[int] = []
    times = measure_times([Variant("ours", lambda: seen.append(0), work=7)], Effort(rounds=8, seconds=60.0, block=1e-4))
    assert len(times["ours"]) == 8
    assert len(seen) > 8


def test_family_has_a_module_and_a_section() -> None:
    assert list(SECTIONS) == list(FAMILIES)
    assert all((REPO / "tests" / "benchmarks" / f"{module}.py").is_file() for module in FAMILIES.values())


def test_unknown_option_measures_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["onyl=sm"]) == 2
    assert "only=sm" in capsys.readouterr().err


def row(low: float, high: float, number: float) -> dict[str, Any]:
    measurement = Measurement(times={"ours": [1.0] * 7, "peer": [low, low, *[0.5 * (low + high)] * 3, high, high]})
    measurement.facts = [Fact("peak", number, "MB", at_most=60.0), Fact("a number", 1.0, "s")]
    made = Row("sm-2", "a row", lambda effort: measurement, "peer", targets=(Target("ours", "peer", 3.0),))
    return stored_form(made, measurement)


def test_target_is_met_by_the_median_or_nearly_the_low_end() -> None:
    """The low end of the interval may be 15 % below the target."""
    assert [v.met for v in verdicts_of(row(1.0, 5.2, 60.0))] == [True, True]
    assert [v.met for v in verdicts_of(row(2.6, 2.9, 60.1))] == [True, False]
    assert [v.met for v in verdicts_of(row(2.5, 2.9, 10.0))] == [False, True]
    spread = row(2.5, 2.9, 62.0)
    spread["facts"][0]["spread"] = (58.0, 68.0)
    assert [v.met for v in verdicts_of(spread)] == [False, True]


def test_page_marks_missed_targets() -> None:
    measured = row(1.0, 2.0, 61.0) | {"date": "2026-01-01", "quick": False, "threads": 2, "load": 0.0}
    page = markdown({"rows": {"sm-2": measured}, "versions": {"torch": "1"}, "processor": "a processor"})
    assert "0 of 2 targets are met." in page
    assert "| a row: ours, against peer | 3× | 1.5× (1–2) | **no** |" in page
    assert "| a row: peak | ≤ 60 MB | 61 MB | **no** |" in page
    assert "a processor" in page
    assert "## Tried without success" in page
