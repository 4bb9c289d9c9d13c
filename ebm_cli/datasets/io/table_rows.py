"""Rows of a table: its columns of numbers side by side, each validated, and its column of classes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ebm_cli.datasets.io.classes import NO_CLASS, Classes, read_classes
from ebm_cli.datasets.io.column_choice import choose_columns
from ebm_cli.datasets.io.column_problems import count_problems, doubts, keep_cure, number_problems
from ebm_cli.datasets.io.contents import ColumnWords, FileRows, Reading, ReadTable, counted, listed
from ebm_cli.datasets.io.mapped import MappedRows
from ebm_cli.datasets.io.number_format import MISSING
from ebm_cli.datasets.io.problems import ClassFaults, Problem, raise_problems
from ebm_cli.datasets.io.row_numbers import Numbering, numbered_columns
from ebm_cli.datasets.io.text_columns import decimals_as_thousands, is_numeric, text_problems

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
    table, problems = _with_index(_with_unique_names(table), keys)
    choice = choose_columns(len(table.columns), table.names, keys, table.left_out)
    columns = [table.columns[j] for j in choice.used]
    words = ColumnWords(table.names, choice.used, keys.drop, choice.used if keys.columns else None)
    numbered: list[Numbering] = []
    for k, j in enumerate(choice.used):
        if not is_numeric(columns[k]):
            problems += text_problems(table, j)
            continue
        problems += number_problems(table, j, missing)
        if not missing and not keys.keeps_index and columns[k].dtype.kind != "O":
            numbered += [
                found._replace(column=k) for found in numbered_columns(MappedRows(columns[k].to_numpy()[:, None]))
            ]
    problems += count_problems(numbered, words, len(columns))
    classes, of_classes, reason = _classes(table, choice.label, keys)
    problems += of_classes
    if problems:
        if any(problem.has_other_mark for problem in problems):
            problems += decimals_as_thousands(table, choice.used)
        if not missing:
            numeric = [(j, table.columns[j]) for j in choice.used if table.columns[j].dtype.kind in "iuf"]
            problems += [found for j, column in numeric for found in doubts(j, column.to_numpy())]
        has_gaps = choice.label is not None and bool(table.columns[choice.label].isin(MISSING).any())
        kept = replace(keys, missing_class=keys.missing_class or has_gaps)  # text in a copy as in a workbook
        rewriting = None if table.rewriting is None else table.rewriting(kept)
        in_file, faults = words._replace(positions=None), ClassFaults(choice.label, reason)
        raise_problems(problems, in_file, len(columns), faults, rewriting)
    if reason:
        raise ValueError(reason)
    rows = torch.empty(len(columns[0]), len(columns))
    for k, column in enumerate(columns):
        rows[:, k : k + 1] = MappedRows(column.to_numpy()[:, None])[:]
    names = None if table.names is None else tuple(table.names[j] or f"column {j}" for j in choice.used)
    return FileRows(
        rows,
        names,
        None if classes is None else classes.labels,
        None if classes is None else classes.names,
        description=describe(rows.shape, names, name, [*_notes(classes, keys), *choice.notes, *table.notes]),
        words=words,
        numbered=tuple(numbered),
    )


def _classes(table: ReadTable, label: int | None, keys: Reading) -> tuple[Classes | None, list[Problem], str]:
    """The classes of the rows, None where they are unfit; the gaps of their column; and its other faults."""
    if label is None:
        return None, [], ""
    column = table.columns[label]
    gap = column.isna().to_numpy()
    written = table.written(label) if gap.any() and table.written is not None else [""] * len(gap)
    absent = [cell for cell, is_gap in zip(written, gap, strict=True) if is_gap]
    if absent and not keys.missing_class:
        said = f"{absent[0]!r} in " * bool(absent[0])
        example = f"{len(absent):,} of {len(gap):,}, {said or 'the first in '}{table.row_label(int(gap.argmax()))}"
        return None, [Problem("has rows without a class in", label, example, rows=gap)], ""
    try:
        return read_classes(column, keys.label, [cell or NO_CLASS for cell in absent]), [], ""
    except ValueError as error:
        return None, [], str(error)


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


def _with_unique_names(table: ReadTable) -> ReadTable:
    if table.names is None or (names := unique_names(table.names)) == list(table.names):
        return table
    new = listed(name for name, old in zip(names, table.names, strict=True) if name != old)
    return table._replace(names=names, notes=(*table.notes, f"columns of one name are told apart by a number: {new}"))


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
        return table, [Problem("has no name, and may hold a row index or data, in", 0, example, keep_cure(keys.drop))]
    return table, []
