"""Columns of dates, and the expressions of pandas that make days of them, or years, months and days."""

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ebm_cli.datasets.io.row_numbers import counts_rows

_ISO = re.compile(r"\d{4}-\d\d?-\d\d?([ T].*)?")
_LOCAL = re.compile(r"(\d\d?)([./])(\d\d?)([./])(\d{2,4})([ ,].*)?")
_CURE = "write them as numbers, for instance days since the first one"
PARTS = ("year", "month", "day")
"""Columns that may stand for a date, as pandas calls them."""


class Dates(NamedTuple):
    """A column of dates.

    Attributes:
        cure: in the imperative.
        expression: of pandas, with {0} for the column, for the days since the first date; "" where pandas cannot read
            all of them, or they would count the rows.
        parts: part of the date → expression for it; none in the same cases.
    """

    cure: str
    expression: str = ""
    parts: tuple[tuple[str, str], ...] = ()


def dates(column: Any, values: Any) -> Dates | None:
    """Find dates in a column; None if it holds anything else.

    Day and month are told apart by the numbers above 12; without any, a point is taken for the mark of a country that
    writes the day first.

    Args:
        column: pandas' Series, with at least one value.
        values: its texts, without blanks around them.
    """
    if column.dtype.kind == "M" or all(map(_ISO.fullmatch, values)):
        return _numbers(column, {})
    found = [match for cell in values if (match := _LOCAL.fullmatch(cell)) is not None]
    if len(found) < len(values):
        return None
    first, second = (max(int(match[i]) for match in found) for i in (1, 3))
    is_doubtful = first <= 12 and second <= 12
    day_first = found[0][2] == "." if is_doubtful else first > 12
    orders = [_order(found, is_first) for is_first in (day_first, not day_first)]
    note = ""
    if is_doubtful:
        words = ("day, month, year", "month, day, year")
        read, other = words if day_first else words[::-1]
        (name, value), (_, instead) = (next(iter(order.items())) for order in orders)
        note = f" ({values.iloc[0]} is read as {read}; {name}={instead!r} instead of {value!r} reads {other})"
    return _numbers(column, orders[0], note)


def _order(found: Sequence[re.Match[str]], day_first: bool) -> dict[str, Any]:
    """The argument of pandas that says which number is the day: the format, where all dates are written alike."""
    written = {(match[2], match[4], len(match[5]), match[6]) for match in found}
    if len(written) > 1 or found[0][6]:
        return {"dayfirst": day_first}
    mark, end, n_digits, _ = written.pop()
    return {"format": f"%{'dm'[not day_first]}{mark}%{'md'[not day_first]}{end}%{'Y' if n_digits == 4 else 'y'}"}


def _numbers(column: Any, order: Mapping[str, Any], note: str = "") -> Dates:
    """The expressions by this order of day and month; none of them where pandas cannot read all dates so."""
    import pandas as pd

    to_datetime: Any = pd.to_datetime
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsed = to_datetime(column, **order)
            is_read = parsed.dtype.kind == "M" and bool((parsed.notna() == column.notna()).all())
        except (ValueError, TypeError, OverflowError):
            is_read = False
    if not is_read:
        return Dates(_CURE)
    known = parsed.dropna()
    by_part = [getattr(known.dt, part).to_numpy() for part in PARTS]
    since = ((known - known.min()).dt.total_seconds() / 86400).to_numpy()
    read = f"pandas.to_datetime({', '.join(['{0}', *(f'{name}={value!r}' for name, value in order.items())])})"
    days = f"(lambda d: (d - d.min()).dt.total_seconds() / 86400)({read})"
    parts = tuple((part, f"{read}.dt.{part}") for part in PARTS) if not any(map(counts_rows, by_part)) else ()
    if counts_rows(since):
        return Dates(f"days since the first one would count the rows, as an index does{note}", "", parts)
    return Dates(f"{_CURE}{note}", days, parts)
