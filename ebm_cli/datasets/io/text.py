"""Tables in text, parsed by pandas in the layout that `find_layout` found; a fault is named by its line and column."""

import csv
import io
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ebm_cli.datasets.io.contents import InvalidFile, Reading, ReadTable, column_label, counted
from ebm_cli.datasets.io.csv_call import csv_call
from ebm_cli.datasets.io.layout import Layout, find_layout, split_lines
from ebm_cli.datasets.io.number_format import MISSING, NumberFormat, word_of
from ebm_cli.datasets.io.text_files import TextFile, scan
from ebm_cli.errors import first_line


def read_text(file: Path, keys: Reading) -> ReadTable:
    """Read the columns of a text file.

    Raises:
        InvalidFile: no text, no rows, a line of another width, or a file that may be read in two ways.
    """
    text = scan(file)
    try:
        layout = find_layout(text, keys)
        frame = _parse(text, layout)
    except UnicodeError as error:
        raise InvalidFile(f"cannot be read as {text.encoding}: {first_line(error)}") from None
    notes = [
        text.note,
        f"{word_of(layout.delimiter)}s between columns" if layout.width > 1 and layout.delimiter in ";|" else "",
    ]
    notes += [str(layout.style), *layout.notes]
    n_read = len(frame)
    if bool(frame.iloc[:, 0].isna().any()):
        frame = frame[~frame.isna().all(axis=1)]
    if len(frame) == 0:
        raise InvalidFile("is empty: it has no row of numbers")
    if n_empty := n_read - len(frame):
        notes.append(f"{counted(n_empty, 'row')} without any value {'was' if n_empty == 1 else 'were'} left out")
    return ReadTable(
        [_plain_numbers(frame.iloc[:, j], layout.style) for j in range(frame.shape[1])],
        layout.names,
        lambda i: f"line {_line_number(text, layout, i)}",
        layout.left_out,
        tuple(note for note in notes if note),
        layout.style,
        lambda keys: csv_call(text, layout, keys),
        lambda j: _written(text, layout, j),
    )


def _parse(text: TextFile, layout: Layout) -> Any:
    """Pandas' frame of the rows."""
    import pandas as pd

    with text.lines() as lines, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated ways to ask for exact numbers, which older versions need
        for _ in range(layout.n_skipped):
            lines.readline()
        try:
            frame = pd.read_csv(
                lines,
                header=None,
                index_col=False,
                sep=r"\s+" if layout.delimiter == " " else layout.delimiter,
                decimal=layout.style.decimal,
                dtype=str if layout.style.thousands else None,
                skipinitialspace=True,
                comment="#" if text.has_comments else None,
                float_precision="round_trip",
                low_memory=False,
            )
        except pd.errors.EmptyDataError:
            raise InvalidFile("is empty: it has no row of numbers") from None
        except (ValueError, csv.Error, OSError):  # also pandas' ParserError
            _require_one_width(text, layout)
            raise InvalidFile("cannot be read as a table: a quote is not closed, or its cells are no text") from None
    if layout.ends_with_delimiter and frame.shape[1] == layout.width + 1:
        frame = frame.iloc[:, :-1]
    # A line with too few cells is filled up by pandas.
    if frame.shape[1] != layout.width or bool(frame.iloc[:, -1].isna().any()):
        _require_one_width(text, layout)
    return frame


def _plain_numbers(column: Any, style: NumberFormat) -> Any:
    """A column of texts as numbers, if every cell is one that pandas reads wrongly or not at all.

    Between thousands it would take 1.5 for 15; a D before an exponent, as Fortran writes it, it does not know.
    """
    import pandas as pd

    if column.dtype.kind in "biuf":
        return column
    present = column.dropna().astype(str).str.strip()
    is_ours = bool(style.thousands) or bool(present.str.contains(r"\d\.?[dD][+-]?\d").any())
    if not (is_ours and len(present) and all(map(style.is_number, present))):
        return column
    plain = present.map(style.plain).str.replace(r"[\u00a0\u202f]", "", regex=True)
    truth = plain.str.lower().map({"true": "1", "false": "0"})
    return pd.to_numeric(truth.fillna(plain)).reindex(column.index)


def _rows(text: TextFile, lines: io.TextIOWrapper, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every row."""
    for _ in range(layout.n_skipped):
        lines.readline()
    for record in split_lines(iter(lines), layout.delimiter, text.has_comments):
        yield record.line + layout.n_skipped, record.cells


def _line_number(text: TextFile, layout: Layout, i: int) -> int:
    """The line (from 1) of row i (from 0) of those with a value."""
    with text.lines() as lines:
        rows = (line for line, cells in _rows(text, lines, layout) if not MISSING.issuperset(cells))
        return next(islice(rows, i, None))


def _written(text: TextFile, layout: Layout, j: int) -> list[str]:
    """The cells of a column as they are written, of the rows with a value."""
    with text.lines() as lines:
        return [cells[j] for _, cells in _rows(text, lines, layout) if not MISSING.issuperset(cells)]


def _require_one_width(text: TextFile, layout: Layout) -> None:
    """Raise for the first line that has more or fewer cells than the table; return if there is none."""
    with text.lines() as lines:
        try:
            for line, cells in _rows(text, lines, layout):
                n = len(cells) - (layout.ends_with_delimiter and len(cells) > layout.width)
                if n != layout.width:
                    _raise_for_width(line, n, cells, layout)
        except csv.Error as error:
            raise InvalidFile(f"cannot be read as a table: {first_line(error)}") from None


def _raise_for_width(line: int, n: int, cells: list[str], layout: Layout) -> None:
    text = [j for j, cell in enumerate(cells) if not layout.style.is_number(cell) and cell not in MISSING]
    at = f": text {cells[text[0]][:80]!r} in {column_label(text[0], layout.names)}" if text else ""
    raise InvalidFile(f"has {n} column{'' if n == 1 else 's'} in line {line}, expected {layout.width}{at}")
