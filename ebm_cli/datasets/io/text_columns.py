"""Columns without numbers: what they hold instead, with an example, and what can be done about it."""

import re
from typing import Any

from ebm_cli.datasets.io.contents import ReadTable, listed
from ebm_cli.datasets.io.problems import Problem

_DATE = re.compile(r"\d{4}-\d\d?-\d\d?([ T].*)?|\d\d?[./]\d\d?[./]\d{2,4}([ ,].*)?|\d\d?:\d\d(:\d\d.*)?")
_SIGNED = re.compile(r"[+-]?\s?[€$£¥%]?\s?[+-]?[\d.,' ]*\d[\d.,' ]*\s?([€$£¥%‰]|EUR|USD|GBP|CHF)?", re.ASCII)
_COMPLEX = re.compile(r"\(?[+-]?[\d.]+(e[+-]?\d+)?[+-][\d.]+(e[+-]?\d+)?[ij]\)?", re.IGNORECASE)
_YES_NO = frozenset(["yes", "no", "y", "n", "ja", "nein", "on", "off", "t", "f"])
_ABSENT = frozenset(["n.d.", "n.a.", "nd", "na", "k.a.", "nil", "missing", "unknown", "not available"])
"""Words, in small letters, that people write in place of a number that they do not have."""
MARKS = 8
"""Different texts in place of numbers that one line of pandas can take for missing ones."""
LONGEST_MARK = 30
"""Characters of such a text, at most."""
LONGEST = 80
"""Characters of a text that are shown."""


def is_numeric(column: Any) -> bool:
    """True if a Series holds real numbers or truth values, or is empty."""
    return column.dtype.kind in "biuf" or len(column.dropna()) == 0


def text_problem(table: ReadTable, j: int) -> Problem:
    """Find the problem of a column without numbers.

    Args:
        table: as it was read.
        j: position of the column, for which `is_numeric` is false.
    """
    column = table.columns[j]
    values = column.dropna().astype(str).str.strip()
    if column.dtype.kind in "mM":
        return _dates(table, j, values)
    is_number = values.map(table.style.is_number)
    if bool(is_number.all()):
        return _numbers(table, j, values)
    words = values[~is_number]
    if bool(values.map(lambda cell: bool(_DATE.fullmatch(cell))).all()):
        return _dates(table, j, values)
    if bool(words.map(lambda cell: bool(_COMPLEX.fullmatch(cell))).all()):
        cure = "write real and imaginary part as two columns"
        return Problem("holds complex numbers in", j, _first(table, j, words), cure)
    if is_number.mean() >= 0.5 or bool(words.map(lambda cell: bool(_SIGNED.fullmatch(cell))).all()):
        return _words_among_numbers(table, j, words)
    counts = values.value_counts()
    is_class = 2 <= len(counts) <= len(values) / 2
    shown = listed((f"{value!r} ({n:,})" for value, n in counts.items()), 4)
    cure = "1 and 0 in their place are numbers" if {str(v).lower() for v in counts.index} <= _YES_NO else ""
    return Problem("holds text in", j, f"{shown}, the first in {_place(table, j, values)}", cure, is_class=is_class)


def _dates(table: ReadTable, j: int, values: Any) -> Problem:
    cure = "write them as numbers, for instance days since the first one"
    return Problem("holds dates in", j, _first(table, j, values), cure)


def _numbers(table: ReadTable, j: int, values: Any) -> Problem:
    """A column of numbers that are no numbers to their reader: of too many digits, or stored as text."""
    large = values[values.str.fullmatch(r"[+-]?\d{19,}")]
    if len(large):
        cure = "subtract a constant from them"
        return Problem("holds whole numbers beyond 64 bits in", j, _first(table, j, large), cure)
    return Problem("holds numbers that are stored as text in", j, _first(table, j, values), "store them as numbers")


def _words_among_numbers(table: ReadTable, j: int, words: Any) -> Problem:
    """A column in which some cells are marks for a missing value, or numbers with a unit."""
    column, first = table.columns[j], words.iloc[0]
    more = f", and {len(words) - 1:,} more like it" if len(words) > 1 else ""
    example = f"{_first(table, j, words)}{more}"
    if not _may_be_missing(first):
        fact, cure = "holds text in place of numbers in", "write plain numbers"
    else:
        fact = "holds text that may stand for a missing value in"
        cure = "fill in numbers, or remove the rows"
    marks = tuple(map(str, column[words.index].unique()))
    are_few = len(marks) <= MARKS and max(map(len, marks)) <= LONGEST_MARK
    rows = column.isna() | column.index.isin(words.index)
    return Problem(fact, j, example, cure, rows.to_numpy() if are_few else None, marks)


def _first(table: ReadTable, j: int, values: Any) -> str:
    """The first of some values of a column, and its place."""
    return f"{values.iloc[0][:LONGEST]!r} in {_place(table, j, values)}"


def _place(table: ReadTable, j: int, values: Any) -> str:
    return table.row_label(table.columns[j].index.get_loc(values.index[0]))


def _may_be_missing(cell: str) -> bool:
    """True for a cell without letters and digits, an error of Excel, and usual words."""
    return not any(map(str.isalnum, cell)) or cell.startswith("#") or cell.lower() in _ABSENT
