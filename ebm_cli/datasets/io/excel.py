"""Sheets of .xlsx files, read by openpyxl, which is an optional dependency."""

import importlib
import warnings
import zipfile
from pathlib import Path
from typing import Any

from ebm_cli.datasets.io.arrays import require_room_to_unpack
from ebm_cli.datasets.io.contents import GROUP, InvalidFile, Reading, ReadTable, listed, refuse_damage
from ebm_cli.datasets.io.header import first_line_is_header, is_unit_line
from ebm_cli.datasets.io.number_format import NumberFormat
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
    filled = {title: rows for title, cells in sheets.items() if (rows := _filled(cells))}
    return _read_sheet(*_choose(filled, keys), keys, len(filled))


def _filled(cells: list[list[Any]]) -> list[tuple[int, list[Any]]]:
    """Rows (number from 1, cells) that hold something, cut to the columns that do."""
    rows = [(i, row) for i, row in enumerate(cells, 1) if any(cell is not None for cell in row)]
    if not rows:
        return []
    used = [j for _, row in rows for j, cell in enumerate(row) if cell is not None]
    low, high = min(used), max(used) + 1
    return [(i, [*row[low:high], *[None] * (high - max(low, len(row)))]) for i, row in rows]


def _choose(sheets: dict[str, Any], keys: Reading) -> tuple[str, list[tuple[int, list[Any]]]]:
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


def _read_sheet(title: str, rows: list[tuple[int, list[Any]]], keys: Reading, n_sheets: int) -> ReadTable:
    import pandas as pd

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
    return ReadTable(columns, names, lambda i: f"row {numbers[i]}", notes=tuple(notes))
