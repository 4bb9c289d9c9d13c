"""Columns of durations and of times of day, and the expression of pandas that makes seconds of them."""

import re
from typing import Any, NamedTuple

_CLOCK = re.compile(r"[+-]?(\d+ days?,? )?[+-]?\d+:[0-5]?\d(:[0-5]?\d([.,]\d+)?)?")
"""12:30, 01:02:03.5, 1 days 00:00:29."""
_HALF_DAY = re.compile(r"(0?[1-9]|1[0-2]):[0-5]\d(:[0-5]\d)? ?[ap]m", re.IGNORECASE)
"""12:30 pm."""


class Times(NamedTuple):
    """A column of times.

    Attributes:
        fact: durations, or times of day.
        cure: in the imperative.
        expression: of pandas, with {0} for the column, for their seconds; "" where there is none.
    """

    fact: str
    cure: str
    expression: str = ""


def times(column: Any, values: Any) -> Times | None:
    """Find durations, or times of day, in a column; None if it holds anything else.

    Args:
        column: pandas' Series, with at least one value.
        values: its texts, without blanks around them.
    """
    if column.dtype.kind == "m":
        return Times("holds durations in", "write them in seconds", "{0}.dt.total_seconds()")
    if bool(values.str.fullmatch(_HALF_DAY).all()):
        return Times("holds times of day in", "write them in seconds since midnight", _since_midnight(values))
    if not bool(values.str.fullmatch(_CLOCK).all()):
        return None
    short = values.str.count(":") == 1
    fact = "holds times in" if bool(short.any()) else "holds durations or times of day in"
    cure = "write them in seconds" + " (12:30 is read as hours and minutes)" * bool(short.any())
    text = "str(s) + ':00' * (str(s).count(':') < 2)" if bool(short.any()) else "str(s)"
    if bool(values.str.contains(",").any()):
        text += ".replace(',', '')" if bool(values.str.contains("day").any()) else ".replace(',', '.')"
    to_text = "str" if text == "str(s)" else f"lambda s: {text}"
    seconds = f"pandas.to_timedelta({{0}}.map({to_text}, na_action='ignore')).dt.total_seconds()"
    return Times(fact, cure, seconds)


def _since_midnight(values: Any) -> str:
    """The expression for times such as 12:30 pm, if all of them are written alike."""
    has_seconds, has_blank = values.str.count(":") == 2, values.str.contains(" ")
    if has_seconds.nunique() > 1 or has_blank.nunique() > 1:
        return ""
    form = f"%I:%M{':%S' * bool(has_seconds.iloc[0])}{' ' * bool(has_blank.iloc[0])}%p"
    return f"(pandas.to_datetime({{0}}, format='{form}') - pandas.Timestamp('1900-01-01')).dt.total_seconds()"
