"""Sheets of .xlsx files, read by openpyxl, which is an optional dependency."""

import importlib
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ebm_cli.datasets.io.arrays import require_room_to_unpack
from ebm_cli.datasets.io.contents import GROUP, InvalidFile, Reading, ReadTable, listed, refuse_damage
from ebm_cli.datasets.io.header import first_line_is_header, is_unit_line
from ebm_cli.datasets.io.number_format import NumberFormat
from ebm_cli.datasets.io.pandas_call import PandasCall, copy_keys
from ebm_cli.datasets.io.table_rows import unique_names
from ebm_cli.errors import did_you_mean, first_line
from ebm_cli.quoting import typed


def read_excel(file: Path, keys: Reading) -> ReadTable:
    """Read a sheet: the one that `array` names, or the only one that is not empty.

    Raises:
        InvalidFile: openpyxl is not installed, a damaged file, or several sheets to choose from.
    """
    try:
        openpyxl: Any = importlib.import_module("openpyxl")
    except ImportError:
        raise InvalidFile("needs openpyxl, which is not installed: pip install 'ebm-cli[xlsx]'") from None
    with refuse_damage(lambda error: f"cannot be read as {file.suffix}: {first_line(error)}"):
        with zipfile.ZipFile(file) as archive:
            require_room_to_unpack(archive.infolist())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            sheets = {
                sheet.title: [list(row) for row in sheet.iter_rows(values_only=True)] for sheet in book.worksheets
            }
            book.close()
    filled = {title: sheet for title, cells in sheets.items() if (sheet := _filled(cells)).rows}
    return _read_sheet(file, *_choose(filled, keys), keys, len(filled))


class _Sheet(NamedTuple):
    """The cells of a sheet that hold something: rows (number from 1, cells), and the first of their columns, from 0."""

    rows: list[tuple[int, list[Any]]]
    first_column: int = 0


def _filled(cells: list[list[Any]]) -> _Sheet:
    """Rows that hold something, cut to the columns that do."""
    rows = [(i, row) for i, row in enumerate(cells, 1) if any(cell is not None for cell in row)]
    if not rows:
        return _Sheet([])
    used = [j for _, row in rows for j, cell in enumerate(row) if cell is not None]
    low, high = min(used), max(used) + 1
    return _Sheet([(i, [*row[low:high], *[None] * (high - max(low, len(row)))]) for i, row in rows], low)


def _choose(sheets: dict[str, _Sheet], keys: Reading) -> tuple[str, _Sheet]:
    if not sheets:
        raise InvalidFile("is empty: none of its sheets has a cell")
    if keys.array is None and len(sheets) > 1:
        first = typed(f"{GROUP}.array", next(iter(sheets)))
        raise InvalidFile(f"holds {len(sheets)} sheets ({listed(sheets)}): choose one, for instance {first}")
    if keys.array is not None and keys.array not in sheets:
        near = did_you_mean(keys.array, sheets)
        raise InvalidFile(f"holds no sheet {keys.array!r} that is not empty, has {listed(sheets)}{near}")
    title = keys.array if keys.array is not None else next(iter(sheets))
    return title, sheets[title]


def _read_sheet(file: Path, title: str, sheet: _Sheet, keys: Reading, n_sheets: int) -> ReadTable:
    import pandas as pd

    rows = sheet.rows
    text = [["" if cell is None else str(cell).strip() for cell in row] for _, row in rows]
    style, notes, names = NumberFormat(), [f"sheet {title}"] if n_sheets > 1 else [], None
    if first_line_is_header(text[0], text[1:], style, keys.header, rows[0][0]):
        names, rows, text = text[0], rows[1:], text[1:]
        if len(text) > 1 and keys.header is not False and is_unit_line(text[0], text[1:], style):
            notes.append(f"row {rows[0][0]} ({listed(text[0])}) was left out: units")
            rows = rows[1:]
    if not rows:
        raise InvalidFile("is empty: it has no row of numbers")
    numbers = [number for number, _ in rows]
    columns = [pd.Series([row[j] for _, row in rows]).infer_objects() for j in range(len(rows[0][1]))]
    return ReadTable(
        columns,
        names,
        lambda i: f"row {numbers[i]}",
        notes=tuple(notes),
        rewriting=lambda keys: _call(file, title, sheet, names, numbers[0], keys),
    )


def _call(file: Path, title: str, sheet: _Sheet, names: list[str] | None, first: int, keys: Reading) -> PandasCall:
    """The call by which pandas reads the rows of a sheet, the first of which is row `first`."""
    above, cells = sheet.rows[0]
    shown = None if names is None else [name or f"Unnamed: {j}" for j, name in enumerate(unique_names(names))]
    read = [f"sheet_name={title!r}"]
    if shown is not None and cells == shown:
        skipped = [*range(above - 1), *range(above, first - 1)]
        read += [f"skiprows={len(skipped) if above == first - 1 else skipped}"] if skipped else []
    else:
        # pandas would call a name that is a number, or has a blank at its end, in another way
        read += [f"skiprows={first - 1}"] if first > 1 else []
        read += ["header=None", *([] if shown is None else [f"names={shown!r}"])]
    if sheet.first_column:
        read.append(f"usecols=range({sheet.first_column}, {sheet.first_column + len(cells)})")
    writing = ("header=False",) if shown is None else ()
    columns: Sequence[str | int] = range(len(cells)) if shown is None else shown
    return PandasCall(file, "read_excel", tuple(read), columns, writing, copy_keys(shown, keys))
