"""Values of results: numbers by their keys, and numbers as text."""

import math
import re
from collections.abc import Mapping

Value = float | int | str | bool | None
Values = Mapping[str, Value]
"""Key of a result, such as `eval/kl`, → its value."""
DECIMAL = re.compile(r"-?\d+\.\d+(e[-+]?\d+)?")


def number(values: Mapping[str, object], key: str) -> float | None:
    """The value of a key as a float; None where it is missing or not a finite number."""
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def brief(word: str) -> str:
    """A word of the command line; of a number with a point and more than eight significant digits, four of them."""
    digits = word.partition("e")[0].replace(".", "").lstrip("-0")
    return f"{float(word):.4g}" if len(digits) > 8 and DECIMAL.fullmatch(word) else word


def format_value(value: Value) -> str:
    """Four significant digits; decimals from 0.0001 to 10 million, powers of ten beyond; a dash for a missing value."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3e}"
    if abs(value) >= 999.95:  # rounds to four digits before the point
        return f"{value:,.0f}".replace(",", " ")
    text = f"{value:#.4g}"
    return text if "e" not in text else f"{value:.4g}"
