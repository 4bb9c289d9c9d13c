"""Rows of an array: a list of numbers, a table [N, D], or images [N, H, W], [N, H, W, C] and [N, C, H, W]."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ebm_cli.datasets.io.array_call import ArrayCall
from ebm_cli.datasets.io.classes import NO_CLASS, Classes, read_classes
from ebm_cli.datasets.io.column_choice import choose_columns
from ebm_cli.datasets.io.column_problems import count_problems, doubts
from ebm_cli.datasets.io.contents import ColumnWords, Contents, FileRows, InvalidFile, Reading, ReadTable, counted
from ebm_cli.datasets.io.mapped import MappedRows, slices
from ebm_cli.datasets.io.precision import finite_problems, precision_problems, require_finite_images
from ebm_cli.datasets.io.problems import ClassFaults, Problem, raise_problems
from ebm_cli.datasets.io.row_numbers import Numbering, numbered_columns
from ebm_cli.datasets.io.table_rows import describe, table_rows

MAX_CHANNELS = 4
"""Channels of an image, at most: grey, grey and alpha, RGB, RGB and alpha."""
MAX_PIXEL = 255
"""The brightest grey level of a byte."""


def array_rows(contents: Contents, keys: Reading, name: str, missing: bool = False) -> FileRows:
    """Validate an array and choose its columns.

    Args:
        contents: as it was read.
        keys: of the data set.
        name: of the file, for the description.
        missing: whether NaN is allowed.

    Raises:
        ValueError: a key that does not fit the array.
        InvalidFile: no rows of real numbers, or numbers that float32 cannot hold.
    """
    array = contents.array
    if array.dtype.names is not None:
        return _structured(contents, keys, name, missing)
    if array.dtype.kind not in "biuf":
        raise InvalidFile(f"must hold real numbers, got dtype {array.dtype}")
    if array.ndim == 0:
        raise InvalidFile("must hold rows and columns, [N, D], got one number")
    if array.ndim == 1:
        array = array[:, None]
    if array.size == 0:
        raise InvalidFile(f"is empty: shape {list(array.shape)}")
    notes = [contents.source] if contents.source else []
    label, pixel_range, words = contents.label, None, ColumnWords()
    numbered: list[Numbering] = []
    if array.ndim > 2:
        rows = _images(array, keys, label is not None)
        require_finite_images(rows, missing=missing)
        pixel_range = _pixel_range(rows)
        notes += _channel_notes(array.shape)
    else:
        choice = choose_columns(array.shape[1], None, keys, {}, has_own_label=contents.label is not None)
        rows = MappedRows(array, None if choice.used == list(range(array.shape[1])) else choice.used)
        words = ColumnWords(None, choice.used, keys.drop, choice.used if keys.columns else None)
        numbered = [] if keys.keeps_index or missing else numbered_columns(rows)
        label = label if choice.label is None else np.asarray(array[:, choice.label])
        if problems := _problems(rows, words, numbered, missing):
            faults = _faults(label, choice.label, len(rows), keys)
            raise_problems(problems, words._replace(positions=None), len(choice.used), faults, contents.rewriting)
    classes = None if label is None else _read_classes(label, len(rows), keys)
    notes += [] if classes is None else [f"classes in {keys.label}: {classes.describe()}"]
    return FileRows(
        rows if isinstance(array, np.memmap) else rows[:],
        None,
        None if classes is None else classes.labels,
        None if classes is None else classes.names,
        pixel_range,
        describe(rows.shape, None, name, notes),
        words=words,
        numbered=tuple(numbered),
    )


def _problems(rows: MappedRows, words: ColumnWords, numbered: Sequence[Numbering], missing: bool) -> list[Problem]:
    """Problems of columns [N, D], and if there are any, the numbers that may stand for missing ones."""
    problems = finite_problems(rows, words, missing=missing)
    if missing:
        return problems
    problems += [*precision_problems(rows, words), *count_problems(numbered, words, rows.shape[1])]
    columns = range(rows.shape[1]) if problems else ()
    return [*problems, *(found for k in columns for found in doubts(words.position(k), rows.column(k)))]


def _structured(contents: Contents, keys: Reading, name: str, missing: bool) -> FileRows:
    """Rows of an array of records, whose fields are columns."""
    import pandas as pd

    array, call = contents.array, contents.rewriting
    names: Sequence[str] = array.dtype.names or ()
    if array.ndim != 1 or any(array.dtype[field].shape or array.dtype[field].names for field in names):
        cure = f"; {call.flat()}" if isinstance(call, ArrayCall) and _is_all_numbers(array.dtype) else ""
        raise InvalidFile(f"must hold one number a field and row, got {array.dtype}{cure}")
    native = [np.asarray(array[field]).astype(array.dtype[field].newbyteorder("=")) for field in names]
    table = ReadTable([pd.Series(column) for column in native], list(names))
    if isinstance(call, ArrayCall):
        is_native = all(array.dtype[field].isnative for field in names)
        table = table._replace(rewriting=lambda keys: call.of_records(names, keys, is_native=is_native))
    return table_rows(table, keys, name, missing)


def _is_all_numbers(dtype: np.dtype[Any]) -> bool:
    """True if every field holds real numbers, one or several, or records of such fields."""
    base = dtype.base
    if base.names is None:
        return base.kind in "biuf"
    return all(_is_all_numbers(base[field]) for field in base.names)


def _read_classes(label: np.ndarray[Any, Any], n_rows: int, keys: Reading) -> Classes:
    """The classes of the rows; NaN is one of its own if the keys say so."""
    absent = [NO_CLASS] * _n_missing(label) if keys.missing_class else None
    return read_classes(_one_a_row(label, n_rows, keys), keys.label, absent)


def _faults(label: np.ndarray[Any, Any] | None, column: int | None, n_rows: int, keys: Reading) -> ClassFaults:
    """The faults of the classes, which are in a column of the array or in an array of their own."""
    if label is None:
        return ClassFaults()
    try:
        _read_classes(label, n_rows, keys)
    except ValueError as error:
        return ClassFaults(column, str(error), not keys.missing_class and _n_missing(label) > 0)
    return ClassFaults(column)


def _n_missing(label: np.ndarray[Any, Any]) -> int:
    return int(np.isnan(label).sum()) if label.dtype.kind == "f" else 0


def _one_a_row(label: np.ndarray[Any, Any], n_rows: int, keys: Reading) -> np.ndarray[Any, Any]:
    flat = label.reshape(-1)
    if len(flat) != n_rows:
        raise ValueError(f"label={keys.label}: holds {len(flat):,} classes for {n_rows:,} rows")
    return flat.astype(flat.dtype.newbyteorder("="))


def _images(array: np.ndarray[Any, Any], keys: Reading, has_label: bool) -> MappedRows:
    """Images with their channels first, [N, C, H, W]."""
    for key in ("columns", "drop"):
        if getattr(keys, key):
            raise ValueError(f"{key} must be null for images, which have no columns: shape {list(array.shape)}")
    if keys.label is not None and not has_label:
        raise ValueError(f"label={keys.label}: names no array of the file; images have no column of classes")
    if array.ndim == 3:
        return MappedRows(array[:, None])
    if array.ndim == 4 and array.shape[3] <= MAX_CHANNELS:
        return MappedRows(np.moveaxis(array, 3, 1))
    if array.ndim == 4 and array.shape[1] <= MAX_CHANNELS:
        return MappedRows(array)
    raise InvalidFile(
        "must hold rows and columns, [N, D], or images, [N, H, W], [N, H, W, C] or [N, C, H, W] of at most "
        f"{MAX_CHANNELS} channels, got shape {list(array.shape)}"
    )


def _channel_notes(shape: tuple[int, ...]) -> list[str]:
    """A sentence on images whose second axis may hold their channels as well as the last, which is taken."""
    if len(shape) != 4 or max(shape[1], shape[3]) > MAX_CHANNELS:
        return []
    return [
        f"the last axis of {list(shape)} was taken for the {counted(shape[3], 'channel')}, as in [N, H, W, C]; "
        "if it is [N, C, H, W], save np.moveaxis(x, 1, 3)"
    ]


def _pixel_range(rows: MappedRows) -> tuple[float, float]:
    """The range of a pixel: [0, 255] for bytes, [0, 1] for shares, else from the lowest to the highest value."""
    low, high, is_whole = np.inf, -np.inf, True
    for chunk in slices(rows):
        x = rows[chunk].numpy()
        low, high = min(low, float(x.min())), max(high, float(x.max()))
        is_whole = is_whole and bool((x == np.round(x)).all())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if is_whole and low >= 0 and high <= MAX_PIXEL:
        return 0.0, float(MAX_PIXEL if high > MAX_PIXEL // 2 else high)
    if low == high:
        raise InvalidFile(f"holds images of one value, {low:g}")
    return low, high
