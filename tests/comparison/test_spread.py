"""Mean and spread as text, and Welch's t-test."""

import statistics

import pytest

from ebm_cli.comparison.spread import Spread, welch


def test_spread_has_the_sample_standard_deviation() -> None:
    values = [0.1, 0.2, 0.6]
    found = Spread.of(values)
    assert found.mean == pytest.approx(0.3)
    assert found.sd == pytest.approx(statistics.stdev(values))
    assert found.sd != pytest.approx(statistics.pstdev(values))
    assert Spread.of([0.5]) == Spread(0.5, None, 1)


@pytest.mark.parametrize(
    ("spread", "text"),
    [
        (Spread(0.01234, 0.00123, 3), "0.0123 ± 0.0012"),
        (Spread(655.1, 120.0, 3), "655 ± 120"),
        (Spread(2.5e-7, 3e-8, 2), "2.50e-07 ± 3.0e-08"),
        (Spread(3.2e8, 1.234e6, 2), "3.200e+08 ± 1.2e+06"),
        (Spread(1.3900005, 2e-9, 2), "1.390000 ± 2.0e-09"),
        (Spread(0.0, 0.02, 2), "0.000 ± 0.020"),
        (Spread(6.0, 0.0, 2), "6"),
        (Spread(0.5, None, 1), "0.5000"),
    ],
)
def test_spread_is_written_to_two_digits_of_the_sd(spread: Spread, text: str) -> None:
    assert str(spread) == text


@pytest.mark.parametrize(
    ("spread", "unit", "parts"),
    [
        (Spread(486.4531, 0.0034, 3), "MB", ("486 MB", "")),
        (Spread(486.4531, 3.4, 3), "MB", ("486 MB", "3")),
        (Spread(12_345.0, 678.0, 3), "MB", ("12.3 GB", "0.7")),
        (Spread(9.2134, 0.0412, 3), "s", ("9.21", "0.04")),
        (Spread(140.25, None, 1), "s", ("140", "")),
        (Spread(6.0, 0.5, 2), "s", ("6.00", "0.50")),
        (Spread(2.0, 0.0, 2), "per row", ("2", "")),
        (Spread(8000.0, None, 1), "", ("8 000", "")),
        (Spread(0.0, None, 1), "per row", ("0", "")),
        (Spread(0.00123, None, 1), "s", ("0.00123", "")),
    ],
)
def test_costs_have_three_digits(spread: Spread, unit: str, parts: tuple[str, str]) -> None:
    assert spread.cost_parts(unit) == parts


def test_welch_agrees_with_scipy() -> None:
    from scipy.stats import ttest_ind

    a, b = [0.1, 0.3, 0.2, 0.25], [0.5, 0.35, 0.9]
    assert welch(Spread.of(a), Spread.of(b)) == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue)
    assert welch(Spread.of(a), Spread.of(a)) == pytest.approx(1)


def test_welch_without_spread() -> None:
    assert welch(Spread(1, 0.0, 2), Spread(2, 0.0, 2)) == 0
    assert welch(Spread(1, 0.0, 2), Spread(1, 0.0, 2)) == 1
    assert welch(Spread(1, 0.5, 2), Spread(1, None, 1)) is None
