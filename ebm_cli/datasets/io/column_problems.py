"""Problems of columns of numbers: values that are missing or not finite, coarse rounding, a count of the rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_cli.datasets.column_values import Values, missing_code
from ebm_cli.datasets.io.contents import Column, ColumnWords, ReadTable, counted, key
from ebm_cli.datasets.io.mapped import MappedRows
from ebm_cli.datasets.io.precision import finite_problems, precision_problems
from ebm_cli.datasets.io.problems import Problem
from ebm_cli.datasets.io.row_numbers import Numbering


def number_problems(table: ReadTable, j: int, missing: bool) -> list[Problem]:
    """Find the problems of a column of numbers.

    Args:
        table: as it was read.
        j: position of the column.
        missing: whether missing values are allowed.
    """
    column = table.columns[j]
    problems = [] if missing else _gaps(table, j)
    if column.dtype.kind == "O":  # no number at all
        return problems
    rows, words = MappedRows(column.to_numpy()[:, None]), ColumnWords(table.names, [j])
    problems += finite_problems(rows, words, table.row_label, missing=True)
    return problems if missing else [*problems, *precision_problems(rows, words)]


def count_problems(numbered: Sequence[Numbering], words: ColumnWords, n_columns: int) -> list[Problem]:
    """Problems of columns that count the rows, unless there is no other.

    Args:
        numbered: columns that number the rows.
        words: for the columns.
        n_columns: of the data set.
    """
    return [
        Problem(
            "counts the rows, as an index does, in",
            words.position(found.column),
            f"{found.first}, {found.first + 1}, … {found.last}",
            keep_cure(words.dropped),
        )
        for found in numbered
        if found.is_count and n_columns > 1
    ]


def keep_cure(drop: Sequence[Column] | None) -> str:
    """The key that keeps a column which may be a row index; None if `drop` is not set."""
    return f"{key('drop')} keeps it" if drop is None else "to keep it, list it in dataset.columns"


def doubts(j: int, numbers: NDArray[Any]) -> list[Problem]:
    """Numbers that may stand for a missing value: no reason to refuse a file, but said with those that are.

    Args:
        j: position of the column.
        numbers: one a row [N]; NaN where there is none.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        short = numbers.astype(np.float32)
    finite = short[np.isfinite(short)]
    code = missing_code(Values.of(finite)) if len(finite) else None
    if code is None:
        return []
    rows = short == np.float32(code)
    value = float(numbers[rows][0])
    mark = int(value) if value.is_integer() else value
    example = f"{mark} in {counted(int(rows.sum()), 'row')}"
    fact = "holds a number that may stand for a missing value in"
    return [Problem(fact, j, example, rows=rows, marks=(mark,), is_doubt=True)]


def _gaps(table: ReadTable, j: int) -> list[Problem]:
    """The missing values of a column."""
    gap = table.columns[j].isna().to_numpy()
    if not gap.any():
        return []
    n = int(gap.sum())
    first = f"{n:,}, {'the first ' * (n > 1)}in {table.row_label(int(gap.argmax()))}"
    example = "all of them" if gap.all() else first
    return [Problem("has missing values (empty, NA or NaN) in", j, example, "fill them in, or remove the rows", gap)]
