"""Columns without numbers: what they hold instead, with an example, and what can be done about it."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ebm_cli.datasets.io.column_problems import doubts
from ebm_cli.datasets.io.contents import ReadTable, listed
from ebm_cli.datasets.io.dates import dates
from ebm_cli.datasets.io.number_format import MISSING, NumberFormat
from ebm_cli.datasets.io.problems import AS_WRITTEN, Problem
from ebm_cli.datasets.io.times import times
from ebm_cli.datasets.io.units import SIGNED, units

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
NESTED = (list, tuple, dict, set, np.ndarray)
"""Values of a cell that are several ones."""


def is_numeric(column: Any) -> bool:
    """True if a Series holds real numbers or truth values, or is empty."""
    return column.dtype.kind in "biuf" or len(column.dropna()) == 0


def text_problems(table: ReadTable, j: int) -> list[Problem]:
    """Find the problems of a column without numbers.

    Args:
        table: as it was read.
        j: position of the column, for which `is_numeric` is false.
    """
    column = table.columns[j]
    if isinstance(column.dropna().iloc[0], NESTED):
        cure = "write each of their elements as a column of its own"
        return [Problem("holds lists in", j, _first(table, j, column.dropna().astype(str)), cure)]
    values = column.dropna().astype(str).str.strip()
    is_mark = values.map(_may_be_missing)
    known, marks = values[~is_mark], values[is_mark]
    if len(known) and (measured := _measured(table, j, known)) is not None:
        return [measured, *([_words_among_numbers(table, j, marks)] if len(marks) else [])]
    is_number = values.map(table.style.is_number)
    if bool(is_number.all()):
        return [_numbers(table, j, values), *_of_numbers(table, j, values, table.style.plain)]
    words = values[~is_number]
    if bool(words.map(lambda cell: bool(_COMPLEX.fullmatch(cell))).all()):
        cure = "write real and imaginary part as two columns"
        return [Problem("holds complex numbers in", j, _first(table, j, words), cure)]
    if mixed := _two_marks(table, j, values, is_number):
        return mixed
    if is_number.mean() >= 0.5 or bool(words.map(lambda cell: bool(SIGNED.fullmatch(cell))).all()):
        numbers = _of_numbers(table, j, values[is_number], table.style.plain)
        return [_words_among_numbers(table, j, words), *numbers]
    return [_text(table, j, values)]


def _measured(table: ReadTable, j: int, values: Any) -> Problem | None:
    """A column of times, dates, or numbers with a unit; None for any other.

    Args:
        values: its texts, without marks for missing ones.
    """
    column = table.columns[j]
    known, gap, example = column.where(column.index.isin(values.index)), _gap(column), _first(table, j, values)
    if (timed := times(known, values)) is not None:
        rows = gap if timed.expression else None
        return Problem(timed.fact, j, example, timed.cure, rows, expression=timed.expression)
    if (dated := dates(known, values)) is not None:
        rows, (cure, made, parts) = gap if dated.expression or dated.parts else None, dated
        return Problem("holds dates in", j, example, cure, rows, expression=made, parts=parts)
    is_text = bool(known.dropna().map(type).eq(str).all())
    if is_text and (found := units(values, table.style)) is not None:
        rows = gap if found.expression else None
        return Problem(found.fact, j, example, found.cure, rows, expression=found.expression)
    return None


def _text(table: ReadTable, j: int, values: Any) -> Problem:
    """A column of words."""
    counts, n_missing = values.value_counts(), int(table.columns[j].isna().sum())
    is_class = 2 <= len(counts) <= len(values) / 2
    shown = listed((f"{value!r} ({n:,})" for value, n in counts.items()), 4)
    absent = f", {n_missing:,} missing (empty, NA or None)" if n_missing else ""
    example = f"{shown}, the first in {_place(table, j, values)}{absent}"
    cure = "1 and 0 in their place are numbers" if {str(v).lower() for v in counts.index} <= _YES_NO else ""
    return Problem(
        "holds text in",
        j,
        example,
        cure,
        is_class=is_class,
        has_gaps=n_missing > 0 or not MISSING.isdisjoint(counts.index),
    )


def _numbers(table: ReadTable, j: int, values: Any) -> Problem:
    """A column of numbers that are no numbers to their reader: of too many digits, or stored as text."""
    large = values[values.str.fullmatch(r"[+-]?\d{19,}")]
    if len(large):
        cure = "subtract a constant from them"
        return Problem("holds whole numbers beyond 64 bits in", j, _first(table, j, large), cure)
    fact, column = "holds numbers that are stored as text in", table.columns[j]
    return Problem(fact, j, _first(table, j, values), "store them as numbers", _gap(column), expression=AS_WRITTEN)


def _two_marks(table: ReadTable, j: int, values: Any, is_number: Any) -> list[Problem]:
    """Decimal commas in a file of decimal points, or the reverse, and the words among them; none for other columns."""
    mark, other = (",", ".") if table.style.decimal == "," else (".", ",")
    is_right, is_other = values.map(NumberFormat(mark).is_number), values.map(NumberFormat(other).is_number)
    wrong, marked = values[is_other & ~is_right], values[is_right & values.str.contains(mark, regex=False)]
    has_thousands = bool((is_number & ~is_right & ~is_other).any())
    if len(wrong) == 0 or has_thousands or (is_right | is_other).mean() < 0.5:
        return []
    word, other_word = ("commas", "points") if mark == "," else ("points", "commas")
    more = f", and {len(wrong) - 1:,} more like it" if len(wrong) > 1 else ""
    example, fact = f"{_first(table, j, wrong)}{more}", f"holds decimal {other_word}, not {word} as the file does, in"
    if len(marked):
        example, fact = f"{_first(table, j, marked)}; {example}", f"holds decimal {word} and decimal {other_word} in"
    cure, gap = f"write {word} only", _gap(table.columns[j])
    found = [Problem(fact, j, example, cure, gap, expression=_exchanged(other, mark), has_other_mark=True)]
    words, numbers = values[~is_right & ~is_other], values[is_right | is_other]
    found += [_words_among_numbers(table, j, words)] if len(words) else []
    return [*found, *_of_numbers(table, j, numbers, lambda cell: cell.replace(",", "."))]


def decimals_as_thousands(table: ReadTable, columns: Sequence[int]) -> list[Problem]:
    """Find marks between thousands in columns of numbers, of a file in which another column has them before decimals.

    `5.976` is 5976 in a file of decimal commas, and its writer may have meant 5,976.
    """
    mark, style = table.style.thousands, table.style
    if mark not in (",", ".") or table.written is None:
        return []
    word, own = ("points", "commas") if mark == "." else ("commas", "points")
    fact = f"may hold decimal {word}, which are read as marks between thousands, in"
    cure, expression, problems = f"write {own}, or no {word}", _exchanged(mark, style.decimal), []
    for j in columns:
        cells = table.written(j) if is_numeric(table.columns[j]) else ()
        if found := next(((i, cell) for i, cell in enumerate(cells) if mark in cell), None):
            example = f"{found[1]!r} in {table.row_label(found[0])} is read as {style.plain(found[1])}"
            problems.append(Problem(fact, j, example, cure, _gap(table.columns[j]), expression=expression))
    return problems


def _exchanged(mark: str, by: str) -> str:
    """The expression that writes one mark in place of another."""
    return f"{{0}}.str.replace({mark!r}, {by!r}, regex=False)"


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


def _of_numbers(table: ReadTable, j: int, cells: Any, plain: Callable[[str], str]) -> list[Problem]:
    """Problems of the numbers in a column of text: infinite ones, and codes for missing ones."""
    values, column = cells.map(lambda cell: _number(plain(cell))).astype(float), table.columns[j]
    infinite = cells[np.isinf(values)]
    found = doubts(j, values.reindex(column.index).to_numpy())
    if len(infinite) == 0:
        return found
    more = f", and {len(infinite) - 1:,} more like it" if len(infinite) > 1 else ""
    example = f"{_first(table, j, infinite)}{more}"
    marks, rows = tuple(map(str, column[infinite.index].unique())), column.index.isin(infinite.index)
    fact = "holds numbers that are not finite in"
    return [Problem(fact, j, example, "remove such rows", rows, marks, is_infinite=True), *found]


def _number(cell: str) -> float:
    return {"true": 1.0, "false": 0.0}[cell.lower()] if cell.lower() in ("true", "false") else float(cell)


def _gap(column: Any) -> Any:
    """Rows [N] in which a column has no value."""
    return column.isna().to_numpy()


def _first(table: ReadTable, j: int, values: Any) -> str:
    """The first of some values of a column, and its place."""
    return f"{values.iloc[0][:LONGEST]!r} in {_place(table, j, values)}"


def _place(table: ReadTable, j: int, values: Any) -> str:
    return table.row_label(table.columns[j].index.get_loc(values.index[0]))


def _may_be_missing(cell: str) -> bool:
    """True for a cell without letters and digits, an error of Excel, and usual words."""
    return not any(map(str.isalnum, cell)) or cell.startswith("#") or cell.lower() in _ABSENT
