"""Names of rows in the first column of a text table, as R writes them without a name above."""

import re
from collections.abc import Sequence

from ebm_cli.datasets.io.contents import GROUP, InvalidFile
from ebm_cli.datasets.io.number_format import NumberFormat

_GROUP = re.compile(r"\d{3}(\.\d*)?")
"""Digits behind a mark between thousands."""


def are_row_names(cells: Sequence[str], style: NumberFormat) -> bool:
    """True for different texts or whole numbers."""
    return len(set(cells)) == len(cells) and all(cell.isdecimal() or not style.is_number(cell) for cell in cells)


def refuse_thousands(rows: Sequence[Sequence[str]]) -> None:
    """Refuse row names that may be thousands: in 1,200 below one name too few, the comma may stand in a number.

    Args:
        rows: cells between commas, below the names.

    Raises:
        InvalidFile: every row begins with what may be one number.
    """
    first = rows[0]
    if all(row[0].isdecimal() and len(row[0]) <= 3 and _GROUP.fullmatch(row[1]) for row in rows):
        raise InvalidFile(
            f"has one name too few above {','.join(first[:4])}: {first[0]} may be the name of the row, or "
            f"{first[0]},{first[1]} one number. {GROUP}.delimiter=comma takes it as the name of the row; a number with "
            "a comma needs quotes"
        )
