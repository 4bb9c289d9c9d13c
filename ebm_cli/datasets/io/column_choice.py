"""Choice of columns: those to train on, the one that holds classes, and those that are left out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ebm_cli.datasets.io.contents import Column, Reading, column_label, listed
from ebm_cli.errors import did_you_mean


class Choice(NamedTuple):
    """Positions of columns, and what is said of those that were left out unasked.

    Attributes:
        used: to train on.
        label: of the classes; None without.
        notes: sentences.
    """

    used: list[int]
    label: int | None
    notes: tuple[str, ...]


def choose_columns(
    n_columns: int,
    names: Sequence[str] | None,
    keys: Reading,
    left_out: Mapping[int, str],
    *,
    has_own_label: bool = False,
) -> Choice:
    """Choose columns by the keys `columns`, `drop` and `label`.

    Args:
        n_columns: of the file.
        names: of its columns, if it has any.
        keys: of the data set.
        left_out: columns that are no data → reason; a key that names a column overrules it.
        has_own_label: the classes are no column of this array.

    Raises:
        ValueError: a key names a column that does not exist, or no column is left.
    """
    label = None if keys.label is None or has_own_label else position("label", keys.label, n_columns, names)
    asked = None if keys.columns is None else [position("columns", c, n_columns, names) for c in keys.columns]
    dropped = [position("drop", column, n_columns, names) for column in keys.drop or ()]
    if asked is not None and len(set(asked)) < len(asked):
        raise ValueError(f"columns must name no column twice, got {listed(keys.columns or ())}")
    if asked is not None and label in asked:
        raise ValueError(f"columns must not hold the label, {keys.label}: it is not trained on")
    if both := set(asked or ()) & set(dropped):
        raise ValueError(f"drop and columns both name {column_label(min(both), names)}")
    used = asked if asked is not None else [j for j in range(n_columns) if keys.keeps_index or j not in left_out]
    used = [j for j in used if j not in dropped and j != label]
    if not used:
        raise ValueError(f"{'drop' if keys.drop else 'columns'} must leave at least one column to train on")
    notes = [
        f"{column_label(j, names)} was left out: {reason}"
        for j, reason in left_out.items()
        if j not in used and j != label and j not in dropped
    ]
    return Choice(used, label, tuple(notes))


def position(key: str, column: Column, n_columns: int, names: Sequence[str] | None) -> int:
    """Position of a column that a key names; a whole number is a name if a column has it, else a position.

    Raises:
        ValueError: no such column; the message begins with the key.
    """
    known = list(names or ())
    if str(column) in known:
        return known.index(str(column))
    if isinstance(column, int) and -n_columns <= column < n_columns:
        return column % n_columns
    if isinstance(column, int) or not known:
        has = f"has {n_columns} columns" + (f" ({listed(known)})" if known else ", without names")
        raise ValueError(f"{key}: no column {column}; the file {has}, counted from 0")
    raise ValueError(f"{key}: no column {column!r}; the file has {listed(known)}{did_you_mean(str(column), known)}")
