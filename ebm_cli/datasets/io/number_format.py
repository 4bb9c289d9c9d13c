"""Numbers as people write them: a point or a comma before the decimals, and a mark between groups of three digits."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

MARKS = {"comma": ",", "point": ".", "blank": " ", "apostrophe": "'", "semicolon": ";", "tab": "\t", "bar": "|"}
"""Words for characters that are hard to type in a shell."""
MISSING = frozenset(["", "#N/A", "#N/A N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "None"]) | {
    *("n/a", "nan", "null", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN")
}
"""Cells that stand for a missing value, as pandas reads them."""
_SPECIAL = re.compile(r"[+-]?inf(inity)?|true|false", re.IGNORECASE)


class NumberFormat(NamedTuple):
    """A way to write numbers.

    Attributes:
        decimal: mark before the decimals, "." or ",".
        thousands: mark between groups of three digits; "" for none.
    """

    decimal: str = "."
    thousands: str = ""

    def __str__(self) -> str:
        words = [] if self.decimal == "." else ["decimal commas"]
        if self.thousands:
            word = word_of(self.thousands)
            words.append(f"{'an' if word == 'apostrophe' else 'a'} {word} between thousands")
        return " and ".join(words)

    def is_number(self, cell: str) -> bool:
        """True if a cell, without blanks around it, is a number in this format."""
        return bool(_pattern(self).fullmatch(cell)) or bool(_SPECIAL.fullmatch(cell))

    def plain(self, cell: str) -> str:
        """A number in this format as Python writes it; 1.5D+03 of Fortran is 1.5E+03."""
        plain = (cell.replace(self.thousands, "") if self.thousands else cell).replace(self.decimal, ".")
        return plain.replace("D", "E").replace("d", "e")


@cache
def _pattern(style: NumberFormat) -> re.Pattern[str]:
    whole = r"\d+"
    if style.thousands:
        mark = re.escape(style.thousands) if style.thousands != " " else "[ \u00a0\u202f]"
        whole = rf"(?:[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|\d+)"
    # A comma has a digit on both sides: in "1, 2" it is none of a number.
    marked = rf"(?:{whole},\d+)" if style.decimal == "," else rf"(?:{whole}\.\d*|\.\d+)"
    # Fortran writes a D before the exponent of double precision, and a decimal mark always: 1D5 may be a code.
    return re.compile(rf"[+-]?(?:(?:{marked}|{whole})(?:[eE][+-]?\d+)?|{marked}[dD][+-]?\d+)", re.ASCII)


def word_of(mark: str) -> str:
    """The word for a mark; the mark itself if it has none."""
    return next((word for word, character in MARKS.items() if character == mark), mark)


def mark_of(name: str, value: str | None) -> str | None:
    """The character that a key names, by itself or by its word.

    Raises:
        ValueError: neither.
    """
    if value is None or len(value) == 1:
        return value
    marks = MARKS | {"\\t": "\t", "point": ".", "none": "", "": ""}
    if value not in marks:
        raise ValueError(f"{name} must be one character or one of {', '.join(MARKS)}, got {value!r}")
    return marks[value]


def candidates(decimal: str | None, thousands: str | None) -> list[NumberFormat]:
    """The formats that are tried, in the order of preference, given what is known of them."""
    every = [NumberFormat(), NumberFormat(",")]
    every += [NumberFormat(d, t) for d in ".," for t in (",", ".", " ", "'") if d != t]
    if thousands is not None and thousands not in (",", ".", " ", "'", ""):
        every += [NumberFormat(d, thousands) for d in ".,"]
    return [
        style for style in every
        if decimal in (None, style.decimal) and (thousands is None or thousands == style.thousands)
    ]  # fmt: skip


def best_formats(cells: Iterable[str], formats: Sequence[NumberFormat]) -> tuple[list[NumberFormat], int]:
    """The formats in which most of these cells are numbers, one for each way to read their values; and that number.

    A format without a mark comes first; one that reads the same values as an earlier one is left out.
    """
    present = [cell for cell in cells if cell not in MISSING]
    counts = [sum(map(style.is_number, present)) for style in formats]
    most = max(counts, default=0)
    found: dict[tuple[str, ...], NumberFormat] = {}
    for style, count in zip(formats, counts, strict=True):
        if count == most:
            found.setdefault(tuple(style.plain(cell) for cell in present if style.is_number(cell)), style)
    return list(found.values()), most
