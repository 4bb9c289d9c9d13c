"""Columns without numbers: named with their values, and with the keys that take them as classes or leave them out."""

import re
from collections.abc import Sequence
from typing import Any, Never

from ebm_cli.datasets.io.contents import Column, ColumnWords, InvalidFile, ReadTable, column_label, key, listed

_DATE = re.compile(r"\d{4}-\d\d?-\d\d?([ T].*)?|\d\d?[./]\d\d?[./]\d{2,4}([ ,].*)?|\d\d?:\d\d(:\d\d.*)?")
_SIGNED = re.compile(r"[+-]?\s?[€$£¥%]?\s?[+-]?[\d.,' ]*\d[\d.,' ]*\s?([€$£¥%‰]|EUR|USD|GBP|CHF)?", re.ASCII)
_COMPLEX = re.compile(r"\(?[+-]?[\d.]+(e[+-]?\d+)?[+-][\d.]+(e[+-]?\d+)?[ij]\)?", re.IGNORECASE)
_YES_NO = frozenset(["yes", "no", "y", "n", "ja", "nein", "on", "off", "t", "f"])
_ABSENT = frozenset(["n.d.", "n.a.", "nd", "na", "k.a.", "nil", "missing", "unknown", "not available"])
"""Words, in small letters, that people write in place of a number that they do not have."""


def is_numeric(column: Any) -> bool:
    """True if a Series holds real numbers or truth values, or is empty."""
    return column.dtype.kind in "biuf" or len(column.dropna()) == 0


def raise_for_text(
    table: ReadTable, positions: Sequence[int], label: int | None, dropped: Sequence[Column] = ()
) -> Never:
    """Refuse columns without numbers; the message is about the first of them, its key drops all.

    Args:
        table: as it was read.
        positions: of these columns.
        label: column of the classes; None if there is none yet.
        dropped: columns that the user leaves out already.

    Raises:
        InvalidFile: always.
    """
    j = positions[0]
    column, where = table.columns[j], column_label(j, table.names)
    present = column.dropna()
    values = present.astype(str).str.strip()
    all_drop = ColumnWords(table.names, dropped=dropped).drop(*positions)
    if column.dtype.kind in "mM":
        raise InvalidFile(f"holds dates in {where}, such as {values.iloc[0]}: {_as_numbers(all_drop)}")
    is_number = values.map(table.style.is_number)
    if bool(is_number.all()):
        _raise_for_numbers(values, where, all_drop)
    first = values[~is_number].iloc[0]
    if bool(values.map(lambda cell: bool(_DATE.fullmatch(cell))).all()):
        raise InvalidFile(f"holds dates in {where}, such as {first!r}: {_as_numbers(all_drop)}")
    if bool(values[~is_number].map(lambda cell: bool(_COMPLEX.fullmatch(cell))).all()):
        raise InvalidFile(
            f"holds complex numbers in {where}, such as {first!r}: write real and imaginary part as two columns"
        )
    if is_number.mean() >= 0.5 or bool(values[~is_number].map(lambda cell: bool(_SIGNED.fullmatch(cell))).all()):
        i, n = column.index.get_loc(values[~is_number].index[0]), int((~is_number).sum())
        more = f" (and {n - 1:,} more like it)" if n > 1 else ""
        cure = ": write it as a plain number"
        if _may_be_missing(first):
            cure = ", which may stand for a missing value: fill it in, or remove the row"
        said = f"holds text {first[:80]!r} in {table.row_label(i)}, {where}{more}{cure}"
        raise InvalidFile(f"{said}, or leave the column out with {all_drop}")
    counts = values.value_counts()
    shown = listed(f"{value!r} ({n:,})" for value, n in counts.items())
    cures = []
    if label is None and 2 <= len(counts) <= len(values) / 2:
        cures.append(f"{key('label', j, names=table.names)} takes it as the class of each row")
    if {str(value).lower() for value in counts.index} <= _YES_NO:
        cures.append("1 and 0 in their place are numbers")
    raise InvalidFile(f"holds text in {where}: {shown}; {', '.join([*cures, f'{all_drop} leaves it out'])}")


def _raise_for_numbers(values: Any, where: str, drop: str) -> Never:
    """Refuse a column of numbers that are no numbers to their reader: of too many digits, or stored as text."""
    large = values[values.str.fullmatch(r"[+-]?\d{19,}")]
    if len(large):
        raise InvalidFile(
            f"holds whole numbers beyond 64 bits in {where}, such as {large.iloc[0][:40]}: {_or_drop(drop)}"
        )
    raise InvalidFile(
        f"holds numbers that are stored as text in {where}, such as {values.iloc[0]!r}: store them as numbers, "
        f"or leave them out with {drop}"
    )


def _may_be_missing(cell: str) -> bool:
    """True for a cell without letters and digits, an error of Excel, and usual words."""
    return not any(map(str.isalnum, cell)) or cell.startswith("#") or cell.lower() in _ABSENT


def _as_numbers(drop: str) -> str:
    return f"write them as numbers, for instance days since the first one, or leave them out with {drop}"


def _or_drop(drop: str) -> str:
    return f"subtract a constant from them, or leave them out with {drop}"
