"""Names of rows in the first column of a text table, as R writes them without a name above.

What is taken as names is not trained on, so that a column which may hold numbers is refused instead.
"""

import re
from collections.abc import Sequence
from typing import Never

from ebm_cli.datasets.io.contents import GROUP, InvalidFile
from ebm_cli.datasets.io.number_format import NumberFormat, candidates, word_of
from ebm_cli.quoting import typed

DELIMITERS = (",", ";", "\t", "|", " ")
"""Characters that people write between columns; a blank stands for any number of them."""

_GROUP = re.compile(r"\d{3}(\.\d*)?")
"""Digits behind a mark between thousands."""
_QUOTED = re.compile('"[^"]*"')


def are_row_names(cells: Sequence[str], style: NumberFormat) -> bool:
    """True for different texts or whole numbers."""
    return len(set(cells)) == len(cells) and all(cell.isdecimal() or not style.is_number(cell) for cell in cells)


def refuse_numbers(rows: Sequence[Sequence[str]], delimiter: str, header: str | None) -> None:
    """Refuse row names that may be numbers.

    Args:
        rows: cells of the lines below the names, of which the first are taken as row names.
        delimiter: between these cells.
        header: the line of the names, as it is written, if it has one name too few; None if that of the row names is
            empty.

    Raises:
        InvalidFile: 1,200 below one name too few, which may be one number; or another delimiter joins numbers in all
            row names, or makes as many names of the header as there are columns, or stands in it and in all row names.
    """
    if not rows:
        return
    if header is not None and delimiter == ",":
        _refuse_thousands(rows)
    names = [row[0] for row in rows]
    for other in DELIMITERS:
        if other == delimiter:
            continue
        if _are_joined_numbers(names, other):
            _raise_two_delimiters(names[0], other, names[0], delimiter)
        # A blank is part of many names.
        if header is None or other == " ":
            continue
        n_names = _QUOTED.sub("", header).count(other) + 1
        if n_names >= len(rows[0]) or (n_names > 1 and all(other in name for name in names)):
            _raise_two_delimiters(header.strip(), other, names[0], delimiter)


def _refuse_thousands(rows: Sequence[Sequence[str]]) -> None:
    """Refuse cells between commas if in every row the first two may be one number, such as 1,200."""
    first = rows[0]
    if all(row[0].isdecimal() and len(row[0]) <= 3 and _GROUP.fullmatch(row[1]) for row in rows):
        raise InvalidFile(
            f"has one name too few above {','.join(first[:4])}: {first[0]} may be the name of the row, or "
            f"{first[0]},{first[1]} one number. {GROUP}.delimiter=comma takes it as the name of the row; a number with "
            "a comma needs quotes"
        )


def _are_joined_numbers(cells: Sequence[str], delimiter: str) -> bool:
    """True if every cell is two numbers or more, with this delimiter between them."""
    formats = candidates(None, "")
    split = (cell.split(delimiter) for cell in cells)
    return all(len(parts) > 1 and all(any(f.is_number(p.strip()) for f in formats) for p in parts) for parts in split)


def _raise_two_delimiters(written: str, other: str, name: str, delimiter: str) -> Never:
    chosen = word_of(delimiter)
    raise InvalidFile(
        f"has two delimiters, {word_of(other)}s in {written!r} and {chosen}s: write one of them only. "
        f"{typed(f'{GROUP}.delimiter', chosen)} takes {name!r} as the name of a row"
    )
