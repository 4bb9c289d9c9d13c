"""Rows of a table: its columns of numbers side by side, each validated, and its column of classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ebm_cli.datasets.io.classes import Classes, read_classes
from ebm_cli.datasets.io.column_choice import choose_columns
from ebm_cli.datasets.io.contents import ColumnWords, FileRows, Reading, ReadTable, counted, key, listed
from ebm_cli.datasets.io.mapped import MappedRows
from ebm_cli.datasets.io.precision import finite_problems, precision_problems
from ebm_cli.datasets.io.problems import Problem, raise_problems
from ebm_cli.datasets.io.row_numbers import Numbering, numbered_columns
from ebm_cli.datasets.io.text_columns import is_numeric, text_problem

INDEX_NAMES = frozenset(["", "index", "unnamed: 0", "rownames", "row.names", "row_names", "level_0"])
"""Names, in small letters, of a first column that is a row index if it counts or names the rows."""


def table_rows(table: ReadTable, keys: Reading, name: str, missing: bool = False) -> FileRows:
    """Choose and validate the columns of a table.

    Args:
        table: as it was read.
        keys: of the data set.
        name: of the file, for the description.
        missing: whether missing values are allowed, which then are NaN.

    Raises:
        ValueError: a key that does not fit the table.
        InvalidFile: columns without numbers, missing values, or numbers that float32 cannot hold; the message is about
            all of them.
    """
    table, problems = _with_index(
        table._replace(names=None if table.names is None else unique_names(table.names)), keys
    )
    choice = choose_columns(len(table.columns), table.names, keys, table.left_out)
    columns = [table.columns[j] for j in choice.used]
    words = ColumnWords(table.names, choice.used, keys.drop or (), choice.used if keys.columns else None)
    for k, j in enumerate(choice.used):
        if is_numeric(columns[k]):
            alone = words._replace(positions=[j])
            problems += _number_problems(table, j, alone, keys, len(columns), missing)
        else:
            problems.append(text_problem(table, j))
    classes, of_label = _classes(table, choice.label, keys)
    if problems:
        pandas = None if table.pandas is None else table.pandas()
        in_file = words._replace(positions=None)
        raise_problems(problems, in_file, len(columns), label=choice.label, of_label=of_label, pandas=pandas)
    if of_label:
        raise ValueError(of_label)
    rows = torch.empty(len(columns[0]), len(columns))
    numbered: list[Numbering] = []
    for k, column in enumerate(columns):
        rows[:, k : k + 1] = MappedRows(column.to_numpy()[:, None])[:]
        if not missing:
            numbered += [found._replace(column=k) for found in numbered_columns(MappedRows(column.to_numpy()[:, None]))]
    names = None if table.names is None else tuple(table.names[j] or f"column {j}" for j in choice.used)
    return FileRows(
        rows,
        names,
        None if classes is None else classes.labels,
        None if classes is None else classes.names,
        description=describe(rows.shape, names, name, [*_notes(classes, keys), *choice.notes, *table.notes]),
        words=words,
        numbered=() if keys.keeps_index else tuple(numbered),
    )


def _classes(table: ReadTable, label: int | None, keys: Reading) -> tuple[Classes | None, str]:
    """The classes of the rows, None without a column of classes or where they are unfit; and the reason, or ""."""
    try:
        return None if label is None else read_classes(table.columns[label], keys.label), ""
    except ValueError as error:
        return None, str(error)


def _notes(classes: Any, keys: Reading) -> list[str]:
    return [] if classes is None else [f"classes in {keys.label}: {classes.describe()}"]


def describe(shape: Sequence[int], names: Sequence[str] | None, file: str, notes: Sequence[str]) -> str:
    """Describe rows in a sentence: "400 rows × 2 columns (a, b) from my.csv; …"."""
    of = f" ({listed(names)})" if names else ""
    size = " × ".join(
        [counted(shape[0], "row"), counted(shape[1], "column") if len(shape) == 2 else f"{list(shape[1:])}"]
    )
    return "; ".join([f"{size}{of} from {file}", *notes])


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, those that occur twice with a number: a, a.1."""
    found: list[str] = []
    for name in names:
        n = 0
        while name and (new := f"{name}.{n}" if n else name) in found:
            n += 1
        found.append(new if name else "")
    return found


def _with_index(table: ReadTable, keys: Reading) -> tuple[ReadTable, list[Problem]]:
    """Leave out a first column that is named as a row index is, and holds one value a row.

    A first column without a name that holds decimals may be data: it is a problem.
    """
    names = table.names
    if names is None or 0 in table.left_out or len(names) < 2 or names[0].lower() not in INDEX_NAMES:
        return table, []
    column = table.columns[0]
    is_whole = column.dtype.kind in "iu" or not is_numeric(column)
    if is_whole and bool(column.is_unique):
        shown = f"{column.iloc[0]} … {column.iloc[-1]}"
        return table._replace(left_out={**table.left_out, 0: f"a row index, {shown}"}), []
    if names[0] == "" and not keys.keeps_index and 0 not in (keys.drop or ()) and keys.label != 0:
        example = f"{column.iloc[0]} in {table.row_label(0)}"
        return table, [Problem("has no name, and may hold a row index or data, in", 0, example, _keep(keys))]
    return table, []


def _keep(keys: Reading) -> str:
    return f"{key('drop')} keeps it" if keys.drop is None else "to keep it, list it in dataset.columns"


def _number_problems(
    table: ReadTable, j: int, words: ColumnWords, keys: Reading, n_columns: int, missing: bool
) -> list[Problem]:
    """Problems of a column of numbers: values that are missing or not finite, coarse rounding, a count of the rows."""
    column = table.columns[j]
    rows = MappedRows(column.to_numpy()[:, None])
    problems = [] if missing else _gaps(table, j)
    if column.dtype.kind == "O":  # no number at all
        return problems
    for found in finite_problems(rows, words, table.row_label, missing=True):
        wrong = ~np.isfinite(rows.array[:, 0].astype(np.float64)) if found.is_infinite else None
        problems.append(found._replace(rows=wrong))
    if not missing:
        problems += [*precision_problems(rows, words), *count_problems(rows, words, keys, n_columns)]
    return problems


def count_problems(rows: MappedRows, words: ColumnWords, keys: Reading, n_columns: int | None = None) -> list[Problem]:
    """Problems of columns that count the rows, unless the user has chosen the columns or there is no other.

    Args:
        rows: [N, D].
        words: for their columns.
        keys: of the data set.
        n_columns: of the data set; None for D.
    """
    if keys.keeps_index or (rows.shape[1] if n_columns is None else n_columns) == 1:
        return []
    return [
        Problem(
            "counts the rows, as an index does, in",
            words.position(found.column),
            f"{found.first}, {found.first + 1}, … {found.last}",
            _keep(keys),
        )
        for found in numbered_columns(rows)
        if found.is_count
    ]


def _gaps(table: ReadTable, j: int) -> list[Problem]:
    """The missing values of a column."""
    gap = table.columns[j].isna().to_numpy()
    if not gap.any():
        return []
    n = int(gap.sum())
    first = f"{n:,}, {'the first ' * (n > 1)}in {table.row_label(int(gap.argmax()))}"
    example = "all of them" if gap.all() else first
    return [Problem("has missing values (empty, NA or NaN) in", j, example, "fill them in, or remove the rows", gap)]
