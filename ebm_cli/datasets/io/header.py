"""The first line of a table: names of its columns, or its first row.

A line of numbers may be a header too: 0, 1, …, D − 1 as pandas writes it for an array, 1, 2, …, D, or years above what
was measured in them. Such a line is refused until `header` says what it is.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from ebm_cli.datasets.io.contents import GROUP, InvalidFile, listed
from ebm_cli.datasets.io.number_format import MISSING, NumberFormat

LONGEST_UNIT = 20
"""Characters of a unit below a name, at most."""


class DoubtfulHeader(InvalidFile):
    """A file whose first line may hold names or numbers; the message has the keys that say which."""


def first_line_is_header(
    cells: Sequence[str],
    below: Sequence[Sequence[str]],
    style: NumberFormat,
    header: bool | Literal["text"] | None,
    line: int,
) -> bool:
    """Decide whether the first line holds names.

    Args:
        cells: of the first line.
        below: cells of the following lines.
        style: of the numbers.
        header: the key: true or false; "text" if a line without numbers holds names; None to decide or refuse.
        line: number of the first line, for the message.

    Raises:
        DoubtfulHeader: it may be either.
    """
    if isinstance(header, bool):
        return header
    numbers = [style.is_number(cell) for cell in cells]
    if header == "text":
        return not any(numbers)
    if not any(numbers):
        return not all(cell in MISSING for cell in cells)
    columns = [[row[j] for row in below if row[j] not in MISSING] for j in range(len(below[0]))] if below else []
    if len(cells) != len(columns) or not below:
        return len(cells) == len(columns) - 1 and cells[0] not in MISSING and not all(numbers)
    if cells[0] == "" and all(column for column in columns) and all(numbers[1:]):
        return True  # the empty corner that pandas and R write above row names
    is_numeric = [all(map(style.is_number, column)) for column in columns]
    above = [j for j, numeric in enumerate(is_numeric) if numeric and numbers[j]]
    if any(not numbers[j] and cells[j] not in MISSING for j, numeric in enumerate(is_numeric) if numeric):
        _raise_doubtful(cells, line, "text above numbers")
    reason = _resembles_names([cells[j] for j in above], [columns[j] for j in above], style) if above else ""
    if reason and list(cells) not in [list(row) for row in below]:
        _raise_doubtful(cells, line, reason)
    return False


def _resembles_names(cells: Sequence[str], columns: Sequence[Sequence[str]], style: NumberFormat) -> str:
    """The reason for which numbers in a first line may be names; "" if there is none."""
    values = [float(style.plain(cell)) for cell in cells if _is_finite(cell)]
    if len(values) != len(cells):
        return ""
    whole = [cell.lstrip("+-").isdecimal() for cell in cells]
    distinct = len(set(values)) == len(values)
    if len(values) > 1 and values == list(range(len(values))):
        return f"0 to {len(values) - 1}, as pandas names the columns of an array"
    has_decimals = any(not c.lstrip("+-").isdecimal() for column in columns for c in column)
    if len(values) > 2 and values == list(range(1, len(values) + 1)) and has_decimals:
        return f"1 to {len(values)} above decimals, as columns are counted"
    with_decimals = [bool(column) and not any(c.lstrip("+-").isdecimal() for c in column) for column in columns]
    if all(whole) and all(with_decimals) and distinct:
        return "whole numbers above decimals"
    below = [[float(style.plain(cell)) for cell in column if _is_finite(cell)] for column in columns]
    outside = all(
        len(set(column)) > 2 and not 2 * min(column) - max(column) <= value <= 2 * max(column) - min(column)
        for value, column in zip(values, below, strict=True)
    )
    if len(values) > 1 and outside and all(a < b for a, b in pairwise(values)):
        return "rising, and far from the numbers below"
    return ""


def _is_finite(cell: str) -> bool:
    return any(c.isdigit() for c in cell)


def _raise_doubtful(cells: Sequence[str], line: int, reason: str) -> None:
    raise DoubtfulHeader(
        f"may have names or numbers in line {line}: {listed(cells)} ({reason}). "
        f"{GROUP}.header=true reads it as names, {GROUP}.header=false as the first row"
    )


def is_unit_line(cells: Sequence[str], below: Sequence[Sequence[str]], style: NumberFormat) -> bool:
    """True if a line below the names holds units: no number, short, and above columns of numbers."""
    if not below or len(cells) != len(below[0]) or any(map(style.is_number, cells)):
        return False
    numeric = [
        any(row[j] not in MISSING for row in below)
        and all(style.is_number(row[j]) or row[j] in MISSING for row in below)
        for j in range(len(cells))
    ]
    over = [cell for cell, is_numeric in zip(cells, numeric, strict=True) if is_numeric]
    return bool(over) and any(cell not in MISSING for cell in over) and all(len(c) <= LONGEST_UNIT for c in cells)
