"""Columns of numbers with one unit, of percentages or money, and the expression of pandas that leaves it out."""

import re
from typing import Any, NamedTuple

import numpy as np

from ebm_cli.datasets.io.number_format import NumberFormat, best_formats, candidates
from ebm_cli.datasets.io.row_numbers import counts_rows

_UNIT = r"[€$£¥%‰]|EUR|USD|GBP|CHF"
SIGNED = re.compile(rf"[+-]?\s?({_UNIT})?\s?[+-]?[\d.,' ]*\d[\d.,' ]*\s?({_UNIT})?", re.ASCII)
"""A number, with or without a unit before or behind it."""
_PLAIN = re.compile(r"[^\d.,' +-]", re.ASCII)
_NARROW = re.compile("[\u00a0\u202f]")
"""Blanks at which no line breaks."""
SHARES = {"%": 100, "‰": 1000}
"""Unit of a share → the number of them in 1."""


class Units(NamedTuple):
    """A column of numbers with a unit.

    Attributes:
        fact: percentages, or numbers with a unit.
        cure: in the imperative, with what the first cell is as a number.
        expression: of pandas, with {0} for the column of texts, for the numbers; "" where they would count the rows.
    """

    fact: str
    cure: str
    expression: str


def units(values: Any, style: NumberFormat) -> Units | None:
    """Find numbers which all have the same unit; None for anything else, and where they may be read in two ways.

    Args:
        values: texts of a column, without blanks around them.
        style: of the numbers of the file.
    """
    cells = [_NARROW.sub(" ", cell) for cell in values]
    found = [SIGNED.fullmatch(cell) for cell in cells]
    names = {match and (match[1] or match[2]) for match in found}
    if len(names) != 1 or None in names or any(match and match[1] and match[2] for match in found):
        return None
    (unit,) = names
    numbers = [_PLAIN.sub("", cell.replace(str(unit), "")).replace(" ", "") for cell in cells]
    readings, count = best_formats(numbers, candidates(None, None))
    share = SHARES.get(str(unit))
    # An amount of money has no three decimals: 11.500 € are thousands, whatever the mark of other columns is.
    formats = [one for one in readings if one.thousands] or readings if share is None else readings
    if len(formats) > 1:
        formats = [one for one in formats if one.decimal == style.decimal] or formats
    if count < len(numbers) or len(formats) != 1:
        return None
    (own,) = formats
    # Digits, signs and the decimal mark are kept, not the unit named: some of its characters mean much to a shell.
    expression = f"{{0}}.str.replace('[^0-9{own.decimal}+-]', '', regex=True)"
    expression += ".str.replace(',', '.', regex=False)" if own.decimal == "," else ""
    expression += f".astype(float){f' / {share}' if share else ''}"
    read = np.array([float(own.plain(number)) for number in numbers]) / (share or 1)
    fact = "holds percentages in" if unit == "%" else "holds numbers with a unit in"
    # The cell that is shown tells how all are read.
    shown = next((i for i, number in enumerate(numbers) if len({one.plain(number) for one in readings}) > 1), 0)
    example = f"{_NARROW.sub(' ', values.iloc[shown])!r} is {read[shown]:.15g}"
    return Units(fact, f"write plain numbers ({example})", "" if counts_rows(read) else expression)
