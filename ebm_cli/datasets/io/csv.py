"""Tables in text: numbers separated by commas or tabs, with or without a first line of column names.

numpy parses the numbers, much faster than a loop over the lines. If it cannot, such a loop finds the faulty line.
"""

import csv
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ebm_cli.datasets.io.contents import Contents, InvalidFile, column_label
from ebm_cli.errors import first_line

LONGEST_LINE = 2**20
"""Bytes of a line: room for 50,000 numbers of any length."""
ENCODING = "utf-8-sig"
"""UTF-8, with or without the byte order mark that some spreadsheets write."""


def read_text(file: Path, delimiter: str) -> Contents:
    """Read the rows of a .csv or .tsv, and its column names if no cell of the first line is a number.

    Raises:
        InvalidFile: no rows, a cell that is not a number, or a line of another width; the message names the line
            (from 1) and the column (from 0).
    """
    _require_short_lines(file)
    try:
        names, n_skipped = _column_names(file, delimiter)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*input contained no data", UserWarning)
            array = np.loadtxt(
                file, delimiter=delimiter, skiprows=n_skipped, comments=None, quotechar='"', encoding=ENCODING, ndmin=2
            )
    except UnicodeDecodeError as error:
        raise InvalidFile(f"cannot be read as {file.suffix}: {error}") from None
    except (ValueError, csv.Error, OSError) as error:
        _raise_for_first_fault(file, delimiter)
        raise InvalidFile(f"cannot be read as {file.suffix}: {first_line(error)}") from None
    if array.size == 0:
        raise InvalidFile("is empty: it has no row of numbers")
    if names is not None and array.shape[1] != len(names):
        _raise_for_first_fault(file, delimiter)
    return Contents(array, names, lambda i: f"line {_line_number(file, delimiter, i)}")


def _require_short_lines(file: Path) -> None:
    """Refuse a file with a line too long for a table, before any line is read into memory."""
    n, line = 0, 1
    with file.open("rb") as data:
        while piece := data.read(LONGEST_LINE):
            for k, part in enumerate(piece.replace(b"\r", b"\n").split(b"\n")):
                n, line = (len(part), line + 1) if k else (n + len(part), line)
                if n > LONGEST_LINE:
                    raise InvalidFile(
                        f"has a line of more than {LONGEST_LINE:,} bytes, line {line}: store so many columns in .npy"
                    )


def _lines(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of every line that is not empty; of a cell over several lines the last one counts."""
    with file.open(newline="", encoding=ENCODING) as text:
        reader = csv.reader(text, delimiter=delimiter)
        for cells in reader:
            if cells:
                yield reader.line_num, cells


def _column_names(file: Path, delimiter: str) -> tuple[list[str] | None, int]:
    """The names in the first line, None if it holds numbers; and the number of lines above the numbers."""
    line, cells = next(_lines(file, delimiter), (0, []))
    if any(_is_number(cell) for cell in cells):
        return None, 0
    return [cell.strip() for cell in cells], line


def _line_number(file: Path, delimiter: str, i: int) -> int:
    """The line (from 1) of row i (from 0)."""
    skipped = _column_names(file, delimiter)[0] is not None
    return next(line for k, (line, _) in enumerate(_lines(file, delimiter)) if k == i + skipped)


def _raise_for_first_fault(file: Path, delimiter: str) -> None:
    """Raise for the first line that does not fit the table; return if there is none."""
    names, n_skipped = _column_names(file, delimiter)
    width = len(names) if names else None
    try:
        for line, cells in _lines(file, delimiter):
            if line <= n_skipped:
                continue
            for j, cell in enumerate(cells):
                if not _is_number(cell):
                    found = f"text {cell[:80]!r}" if cell.strip() else "nothing"
                    raise InvalidFile(f"holds {found} in line {line}, {column_label(j, names)}")
            width = width or len(cells)
            if len(cells) != width:
                raise InvalidFile(f"has {len(cells)} columns in line {line}, expected {width}")
    except csv.Error as error:
        raise InvalidFile(f"cannot be read as {file.suffix}: {error}") from None


def _is_number(cell: str) -> bool:
    """True if numpy reads the cell as a number; Python's float also accepts 1_000 and the digits of other scripts."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell
