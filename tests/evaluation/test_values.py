"""Values of results: numbers by their keys, and numbers as text."""

import math

import pytest

from ebm_cli.evaluation.values import Value, format_value, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0012345, "0.001234"),
        (2.831578, "2.832"),
        (1.0, "1.000"),
        (0.0, "0"),
        (-12.3456, "-12.35"),
        (1234.56, "1 235"),
        (999.96, "1 000"),
        (3.2e-9, "3.200e-09"),
        (1.5e8, "1.500e+08"),
        (20000, "20 000"),
        ("grid", "grid"),
        (True, "True"),
        (None, "–"),
    ],
)
def test_format_value_gives_four_significant_digits(value: Value, text: str) -> None:
    assert format_value(value) == text


def test_number_is_none_for_anything_but_a_finite_number() -> None:
    values = {"int": 3, "float": 0.5, "text": "grid", "flag": True, "nan": math.nan, "infinite": math.inf, "null": None}
    found = {key: number(values, key) for key in (*values, "missing")}
    assert {key: value for key, value in found.items() if value is not None} == {"int": 3.0, "float": 0.5}
    assert isinstance(found["int"], float)
