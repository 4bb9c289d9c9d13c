"""Rows of a user's file: the keys that say how it is read, what its reader returns, and the error of an unfit file."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from ebm_cli.datasets.fingerprint import Fingerprint
from ebm_cli.datasets.io.mapped import Rows
from ebm_cli.datasets.io.number_format import NumberFormat
from ebm_cli.datasets.io.rewriting import Rewriting
from ebm_cli.datasets.io.row_numbers import Numbering
from ebm_cli.quoting import typed

Column = str | int
"""A column by its name, or by its position from 0."""
ROW_LABEL = "row {}, counted from 0".format
"""Position of a row (from 0) → its name in a message, in a file without lines."""
FROM_0 = " (counted from 0)"
"""Said of a column without a name. Lines, and rows of a sheet, count from 1 as editors show them."""
SHOWN = 8
"""Names or values that a message lists, at most."""
GROUP = "dataset"
"""Config group whose keys messages name; `config.build` replaces it by the place of the node, such as eval.ood."""
_WORD = re.compile(r"[\w.%/+-]+")
"""A name that needs no quotes in a sentence."""


class InvalidFile(Exception):
    """A file that does not hold rows of numbers; the message continues a sentence that begins with the file's name."""


@contextmanager
def refuse_damage(reason: Callable[[Exception], str]) -> Iterator[None]:
    """Raise an exception of a library that reads a file as InvalidFile, with this reason.

    Every exception counts: a damaged file makes numpy, torch, pyarrow and openpyxl raise any built-in one and several
    of their own. A file that may not be opened is not damaged. Only calls of the library belong into the block, so
    that no fault of ours passes for one of the file.
    """
    try:
        yield
    except (InvalidFile, PermissionError):
        raise
    except Exception as error:
        raise InvalidFile(reason(error)) from None


@dataclass(frozen=True)
class Reading:
    """The keys of `File` that say how a file is read; None stands for detection.

    Attributes:
        array: name of an array of a .npz, of a tensor of a .pt, of a sheet of an .xlsx.
        columns: to train on, in this order; None for all that are not left out.
        drop: columns to leave out; () keeps every column, also one that looks like a row index.
        label: column, or array of a .npz, that holds the class of each row.
        delimiter, decimal, thousands, header: of a text file, see `File`.
        missing_class: whether the rows without a class are a class of their own.
    """

    array: str | None = None
    columns: tuple[Column, ...] | None = None
    drop: tuple[Column, ...] | None = None
    label: Column | None = None
    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    header: bool | Literal["text"] | None = None
    missing_class: bool = False

    @property
    def keeps_index(self) -> bool:
        """True if the user has said that every column, or which columns, are data."""
        return self.columns is not None or self.drop == ()

    def typed(self, *names: str) -> list[str]:
        """These keys as they are typed; none of those that are left to detection."""
        detected = Reading()
        given = [name for name in names if getattr(self, name) != getattr(detected, name)]
        return [typed(f"{GROUP}.{name}", getattr(self, name)) for name in given]


def reading(keys: Mapping[str, Any]) -> Reading:
    """The reading keys among the keys of a data set; those that are not given stand for detection."""
    found: dict[str, Any] = {field.name: keys.get(field.name, field.default) for field in fields(Reading)}
    return replace(Reading(**found), columns=as_tuple(found["columns"]), drop=as_tuple(found["drop"]))


def as_tuple(columns: Column | Sequence[Column] | None) -> tuple[Column, ...] | None:
    """One column, or several, as a tuple."""
    return None if columns is None else (columns,) if isinstance(columns, str | int) else tuple(columns)


class Contents(NamedTuple):
    """An array from a file.

    Attributes:
        array: as it was read, of any shape and dtype.
        label: class of each row, if the file keeps it in an array of its own.
        source: sentence about what was chosen in the file; "" if there was no choice.
        rewriting: of the file; None where there is none.
    """

    array: np.ndarray[Any, Any]
    label: np.ndarray[Any, Any] | None = None
    source: str = ""
    rewriting: Rewriting | None = None


class ReadTable(NamedTuple):
    """The columns of a table as they were read, before any is chosen.

    Attributes:
        columns: pandas' Series of equal length, of any dtype.
        names: one a column; None if the file has none.
        row_label: position of a row (from 0) → its name in a message, for instance its line in a text file.
        left_out: position of a column that is no data → reason.
        notes: sentences on how the file was read, where it could have been read otherwise.
        style: of the numbers in a text file.
        rewriting: the keys by which a copy would be read → the rewriting of the file; None where there is none.
        written: position of a column → its cells as they are written, in a text file.
    """

    columns: Sequence[Any]
    names: Sequence[str] | None
    row_label: Callable[[int], str] = ROW_LABEL
    left_out: Mapping[int, str] = MappingProxyType({})
    notes: tuple[str, ...] = ()
    style: NumberFormat = NumberFormat()
    rewriting: Callable[[Reading], Rewriting] | None = None
    written: Callable[[int], Sequence[str]] | None = None


class ColumnWords(NamedTuple):
    """Words for the columns of some rows: by the place and the name that they have in their file.

    Attributes:
        names: one a column of the file; None if it has none.
        positions: in the file, of the columns of the rows; None if these are all.
        dropped: columns that the user leaves out already, which a key that is typed must name again; None if `drop` is
            not set.
        chosen: positions of the columns that the user asked for; None if `columns` is not set.
    """

    names: Sequence[str] | None = None
    positions: Sequence[int] | None = None
    dropped: Sequence[Column] | None = None
    chosen: Sequence[int] | None = None

    def position(self, k: int) -> int:
        """The place in the file, from 0, of column k of the rows."""
        return k if self.positions is None else self.positions[k]

    def label(self, *ks: int, most: int | None = None) -> str:
        """Columns of the rows as they are called in a message; `most` of them are named."""
        return column_list([self.position(k) for k in ks], self.names, most)

    def drop(self, *ks: int) -> str:
        """The key that leaves out columns of the rows, as it is typed."""
        more = [self.position(k) for k in ks]
        if kept := [j for j in self.chosen or () if j not in more]:
            return key("columns", *kept, names=self.names)  # drop may name no column that columns names
        return key("drop", *(self.dropped or ()), *more, names=self.names)

    def choice(self, *ks: int) -> list[str]:
        """The key that chooses the columns as the user does, without these columns of the rows; none without either."""
        if ks or self.dropped:
            return [self.drop(*ks)]
        if self.chosen is not None:
            return [key("columns", *self.chosen, names=self.names)]
        return [] if self.dropped is None else [key("drop")]


UNNAMED = ColumnWords()
"""For all columns of a file without names."""


class FileRows(NamedTuple):
    """Rows of a user's file.

    Attributes:
        rows: [N, *shape], all finite: float32 in memory, or a mapped .npy of any real dtype.
        column_names: one a column; None if the file has none.
        labels: class of each row [N], from 0; None without a column of classes.
        class_names: one a class.
        pixel_range: for images, the lowest and the highest value of a pixel; None for a table.
        description: of what was read: "400 rows × 2 columns (a, b) from my.csv".
        fingerprint: of rows, names and classes.
        words: for the columns, by their places in the file.
        numbered: columns that number the rows, unless the user has said which columns are data.
    """

    rows: Rows
    column_names: tuple[str, ...] | None = None
    labels: Tensor | None = None
    class_names: tuple[str, ...] | None = None
    pixel_range: tuple[float, float] | None = None
    description: str = ""
    fingerprint: Fingerprint | None = None
    words: ColumnWords = UNNAMED
    numbered: tuple[Numbering, ...] = ()


def column_label(j: int, names: Sequence[str] | None) -> str:
    """A column in a message: by its name, or by the position (from 0) that the keys take where it has none."""
    return column_list([j], names)


def column_list(columns: Sequence[int], names: Sequence[str] | None, most: int | None = None) -> str:
    """Columns in a message: "column a", "columns a, b and c", "columns 0 and 3 (counted from 0)".

    Args:
        columns: positions from 0.
        names: one a column of the file; None if it has none.
        most: columns that are named; of more only the number is said.
    """
    words = [_column_name(j, names) for j in columns[:most]]
    counting = "" if all(map(_is_named(names), columns[:most])) else FROM_0
    if len(columns) > len(words):
        return f"columns {', '.join(words)}, … ({len(columns)} in all{', counted from 0' if counting else ''})"
    several = f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
    return f"column{'s' * (len(columns) > 1)} {several}{counting}"


def _is_named(names: Sequence[str] | None) -> Callable[[int], bool]:
    return lambda j: bool(names and j < len(names) and names[j])


def _column_name(j: int, names: Sequence[str] | None) -> str:
    """The name, quoted if it is no single word; the position of a column without one."""
    if not names or not _is_named(names)(j):
        return str(j)
    return names[j] if _WORD.fullmatch(names[j]) else repr(names[j])


def key(name: str, *columns: Column, names: Sequence[str] | None = None) -> str:
    """A key as it is typed to choose columns: `dataset.drop=kind`; by position where a column has no name."""
    words: list[Column] = [names[j] if isinstance(j, int) and names and names[j] else j for j in columns]
    return typed(f"{GROUP}.{name}", words if len(words) != 1 else words[0])


def listed(words: Iterable[object], most: int = SHOWN) -> str:
    """The first words, separated by commas, and the number of the others."""
    every = [str(word)[:40] for word in words]
    return ", ".join(every[:most]) + (f" and {len(every) - most:,} more" if len(every) > most else "")


def counted(n: int, noun: str) -> str:
    """A number with its noun: "1 row", "400 rows"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
