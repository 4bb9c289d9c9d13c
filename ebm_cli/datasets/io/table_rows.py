"""Rows of a table: its columns of numbers side by side, each validated, and its column of classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ebm_cli.datasets.io.classes import read_classes
from ebm_cli.datasets.io.column_choice import choose_columns
from ebm_cli.datasets.io.contents import ColumnWords, FileRows, InvalidFile, Reading, ReadTable, counted, key, listed
from ebm_cli.datasets.io.mapped import MappedRows
from ebm_cli.datasets.io.precision import counting_columns, require_finite, require_float32_precision
from ebm_cli.datasets.io.text_columns import is_numeric, raise_for_text

INDEX_NAMES = frozenset(["", "index", "unnamed: 0", "rownames", "row.names", "row_names", "level_0"])
"""Names, in small letters, of a first column that is a row index if it counts or names the rows."""
MIN_ROWS = 4
"""Rows of a data set, at least; a column of fewer counts by chance."""


def table_rows(table: ReadTable, keys: Reading, name: str, missing: bool = False) -> FileRows:
    """Choose and validate the columns of a table.

    Args:
        table: as it was read.
        keys: of the data set.
        name: of the file, for the description.
        missing: whether missing values are allowed, which then are NaN.

    Raises:
        ValueError: a key that does not fit the table.
        InvalidFile: a column without numbers, missing values, or numbers that float32 cannot hold.
    """
    table = _with_index(table._replace(names=None if table.names is None else _unique(table.names)), keys)
    choice = choose_columns(len(table.columns), table.names, keys, table.left_out)
    columns = [table.columns[j] for j in choice.used]
    text = [j for j, column in zip(choice.used, columns, strict=True) if not is_numeric(column)]
    if text:
        raise_for_text(table, text, choice.label, keys.drop or ())
    words = ColumnWords(table.names, choice.used, keys.drop or (), choice.used if keys.columns else None)
    if not missing:
        _require_no_gaps(table, columns, words)
    rows = torch.empty(len(columns[0]), len(columns))
    for k, column in enumerate(columns):
        of_column = MappedRows(column.to_numpy()[:, None])
        alone = words._replace(positions=choice.used[k : k + 1])
        require_finite(of_column, alone, table.row_label, missing=missing)
        if not missing:
            require_float32_precision(of_column, alone)
            require_no_count(of_column, alone, keys, len(columns))
        rows[:, k : k + 1] = of_column[:]
    classes = None if choice.label is None else read_classes(table.columns[choice.label], keys.label)
    names = None if table.names is None else tuple(table.names[j] or f"column {j}" for j in choice.used)
    return FileRows(
        rows,
        names,
        None if classes is None else classes.labels,
        None if classes is None else classes.names,
        description=describe(rows.shape, names, name, [*_notes(classes, keys), *choice.notes, *table.notes]),
        words=words,
    )


def _notes(classes: Any, keys: Reading) -> list[str]:
    return [] if classes is None else [f"classes in {keys.label}: {classes.describe()}"]


def describe(shape: Sequence[int], names: Sequence[str] | None, file: str, notes: Sequence[str]) -> str:
    """Describe rows in a sentence: "400 rows × 2 columns (a, b) from my.csv; …"."""
    of = f" ({listed(names)})" if names else ""
    size = " × ".join(
        [counted(shape[0], "row"), counted(shape[1], "column") if len(shape) == 2 else f"{list(shape[1:])}"]
    )
    return "; ".join([f"{size}{of} from {file}", *notes])


def _unique(names: Sequence[str]) -> list[str]:
    """The names, those that occur twice with a number: a, a.1."""
    found: list[str] = []
    for name in names:
        n = 0
        while name and (new := f"{name}.{n}" if n else name) in found:
            n += 1
        found.append(new if name else "")
    return found


def _with_index(table: ReadTable, keys: Reading) -> ReadTable:
    """Leave out a first column that is named as a row index is, and holds one value a row.

    Raises:
        InvalidFile: a first column without a name that holds decimals: it may be data.
    """
    names = table.names
    if names is None or 0 in table.left_out or len(names) < 2 or names[0].lower() not in INDEX_NAMES:
        return table
    column = table.columns[0]
    is_whole = column.dtype.kind in "iu" or not is_numeric(column)
    if is_whole and bool(column.is_unique):
        shown = f"{column.iloc[0]} … {column.iloc[-1]}"
        return table._replace(left_out={**table.left_out, 0: f"a row index, {shown}"})
    if names[0] == "" and not keys.keeps_index and 0 not in (keys.drop or ()) and keys.label != 0:
        raise InvalidFile(
            "has no name above column 0, which may be a row index or data: "
            f"{ColumnWords(dropped=keys.drop or ()).drop(0)} leaves it out, {_keep(keys)}"
        )
    return table


def _keep(keys: Reading) -> str:
    return f"{key('drop')} keeps it" if keys.drop is None else "to keep it, list it in dataset.columns"


def require_no_count(rows: MappedRows, words: ColumnWords, keys: Reading, n_columns: int | None = None) -> None:
    """Refuse a column that counts the rows, unless the user has chosen the columns or there is no other.

    Args:
        rows: [N, D].
        words: for their columns.
        keys: of the data set.
        n_columns: of the data set; None for D.

    Raises:
        InvalidFile: a column holds 0, 1, 2, … or 1, 2, 3, ….
    """
    if keys.keeps_index or (rows.shape[1] if n_columns is None else n_columns) == 1 or len(rows) < MIN_ROWS:
        return
    for k in counting_columns(rows)[:1]:
        first, last = (int(rows.value(i, k)) for i in (0, len(rows) - 1))
        raise InvalidFile(
            f"holds {first}, {first + 1}, … {last} in {words.label(k)}, which counts the rows as an index does: "
            f"{words.drop(k)} leaves it out, {_keep(keys)}"
        )


def _require_no_gaps(table: ReadTable, columns: Sequence[Any], words: ColumnWords) -> None:
    """Refuse missing values, with their number in each column."""
    gaps = [column.isna().to_numpy() for column in columns]
    wrong = [k for k, gap in enumerate(gaps) if gap.any()]
    if not wrong:
        return
    n_rows = len(columns[0])
    said = [
        f"{int(gaps[k].sum()):,} in {words.label(k)}, the first in {table.row_label(int(gaps[k].argmax()))}"
        if not gaps[k].all() else f"all in {words.label(k)}"
        for k in wrong[:3]
    ]  # fmt: skip
    more = f", and some in {counted(len(wrong) - 3, 'more column')}" if len(wrong) > 3 else ""
    together = int(np.any([gaps[k] for k in wrong], axis=0).sum())
    drop = f", or leave columns out with {words.drop(*wrong)}" if len(wrong) < len(columns) else ""
    remove = f", or remove the {together:,} of {counted(n_rows, 'row')} that have one" if together < n_rows else ""
    raise InvalidFile(f"has missing values (empty, NA or NaN): {'; '.join(said)}{more}. Fill them in{remove}{drop}")
