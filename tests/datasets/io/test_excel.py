"""Sheets of Excel, with openpyxl and without."""

import datetime
import sys
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.datasets.io.contents import FileRows, Reading
from ebm_cli.datasets.io.row_files import read_rows

ROWS = [[1.5, 2], [2.5, 3], [1, 2], [-1, 5]]


def workbook(folder: Path, **sheets: list[list[Any]]) -> str:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(folder / "x.xlsx")
    return str(folder / "x.xlsx")


def read(path: str, **keys: Any) -> FileRows:
    return read_rows(path, Reading(**keys))


def test_sheet_is_read_with_its_names(tmp_path: Path):
    found = read(workbook(tmp_path, Data=[["a", "b"], ["m", "kg"], *ROWS], Empty=[]))
    assert (found.column_names, found.rows[:].tolist()) == (("a", "b"), ROWS)
    assert found.description == "4 rows × 2 columns (a, b) from x.xlsx; row 2 (m, kg) was left out: units"


def test_sheet_is_chosen_by_its_name(tmp_path: Path):
    path = workbook(tmp_path, One=[["a"], *([x] for x, _ in ROWS)], Two=[["b", "c"], *ROWS])
    assert read(path, array="Two").column_names == ("b", "c")
    with pytest.raises(ValueError, match=r"holds 2 sheets \(One, Two\): choose one, for instance dataset.array=One"):
        read(path)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("x", r"holds text in place of numbers in column b \('x' in row 3\)"),
        (None, r"has missing values .* in column b \(1, in row 3\)"),
        ("2.5", r"holds numbers that are stored as text in column b \('2(.5)?' in row .*\): store them as"),
        (datetime.datetime(2020, 1, 1), r"holds (dates|text) .*2020"),
    ],
)
def test_cell_without_a_number_is_named(cell: Any, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        read(workbook(tmp_path, Data=[["a", "b"], *ROWS[:1], [1, cell], *ROWS[2:]]))


def test_read_excel_without_openpyxl_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = workbook(tmp_path, Data=ROWS)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(
        ValueError, match=r"^path \S+ needs openpyxl, which is not installed: pip install 'ebm-cli\[xlsx\]'"
    ):
        read(path)


def test_damaged_workbook_is_refused(tmp_path: Path):
    (tmp_path / "x.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"^path \S+ cannot be read as .xlsx: "):
        read(str(tmp_path / "x.xlsx"))
