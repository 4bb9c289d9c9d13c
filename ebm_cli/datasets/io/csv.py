"""Tables in text: numbers between commas or tabs, below a line of names or not.

numpy reads the numbers, much faster than a loop over the lines. Where it cannot, that loop finds the line to blame.
"""

import csv
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ebm_cli.datasets.io.arrays import Found, Refused, column
from ebm_cli.errors import first_line

LONGEST_LINE = 2**20
"""Bytes: room for 50,000 numbers of any length."""
ENCODING = "utf-8-sig"  # UTF-8, with the mark in front that some spreadsheets write, or without


def read_text(file: Path, delimiter: str) -> Found:
    """The rows of a .csv or .tsv, and the names of its columns if no cell of its first line is a number.

    Raises:
        Refused: no rows, a cell that is no number, a line of another width: named by line (from 1) and column (from 0).
    """
    _check_lines(file)
    try:
        names, n_above = _names(file, delimiter)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*input contained no data", UserWarning)
            array = np.loadtxt(
                file, delimiter=delimiter, skiprows=n_above, comments=None, quotechar='"', encoding=ENCODING, ndmin=2
            )
    except UnicodeDecodeError as error:
        raise Refused(f"cannot be read as {file.suffix}: {error}") from None
    except (ValueError, csv.Error, OSError) as error:
        _find_fault(file, delimiter)
        raise Refused(f"cannot be read as {file.suffix}: {first_line(error)}") from None
    if array.size == 0:
        raise Refused("is empty: it has no row of numbers")
    if names is not None and array.shape[1] != len(names):
        _find_fault(file, delimiter)
    return Found(array, names, lambda i: f"line {_line_of(file, delimiter, i)}")


def _check_lines(file: Path) -> None:
    """Refuse a file with a line that is no row of a table, before anything takes a line of it into memory."""
    n, line = 0, 1
    with file.open("rb") as data:
        while piece := data.read(LONGEST_LINE):
            for k, part in enumerate(piece.replace(b"\r", b"\n").split(b"\n")):
                n, line = (len(part), line + 1) if k else (n + len(part), line)
                if n > LONGEST_LINE:
                    raise Refused(
                        f"has a line of more than {LONGEST_LINE:,} bytes, line {line}: so many columns belong in .npy"
                    )


def _lines(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every line that is not empty; a quoted cell may go over several, the last of which is given."""
    with file.open(newline="", encoding=ENCODING) as text:
        reader = csv.reader(text, delimiter=delimiter)
        for cells in reader:
            if cells:
                yield reader.line_num, cells


def _names(file: Path, delimiter: str) -> tuple[list[str] | None, int]:
    """The names in the first line, None where it has numbers; and how many lines are above the numbers."""
    line, cells = next(_lines(file, delimiter), (0, []))
    if any(_is_number(cell) for cell in cells):
        return None, 0
    return [cell.strip() for cell in cells], line


def _line_of(file: Path, delimiter: str, i: int) -> int:
    """The line of row i (from 0)."""
    skipped = _names(file, delimiter)[0] is not None
    return next(line for k, (line, _) in enumerate(_lines(file, delimiter)) if k == i + skipped)


def _find_fault(file: Path, delimiter: str) -> None:
    """Raise for the first line that holds something else than the table; return if there is none."""
    names, n_above = _names(file, delimiter)
    width = len(names) if names else None
    try:
        for line, cells in _lines(file, delimiter):
            if line <= n_above:
                continue
            for j, cell in enumerate(cells):
                if not _is_number(cell):
                    found = f"text {cell[:80]!r}" if cell.strip() else "nothing"
                    raise Refused(f"holds {found} in line {line}, {column(j, names)}")
            width = width or len(cells)
            if len(cells) != width:
                raise Refused(f"has {len(cells)} columns in line {line}, expected {width}")
    except csv.Error as error:
        raise Refused(f"cannot be read as {file.suffix}: {error}") from None


def _is_number(cell: str) -> bool:
    """What numpy takes for one: Python's float also takes 1_000 and the digits of other scripts."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell
