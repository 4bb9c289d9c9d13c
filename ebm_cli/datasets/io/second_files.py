"""A second file for the model of a run: read as it stands, or as the run's own file was where it may be read otherwise.

A run may have been told how to read its file: `dataset.decimal=comma`, `dataset.header=true`, `dataset.columns=[0,2]`.
Its user's other files are written alike, so that the same keys are tried first, and then none. A file is taken in the
first way in which its columns are the run's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ebm_cli.datasets.io import row_files
from ebm_cli.datasets.io.contents import GROUP, FileRows, Reading
from ebm_cli.datasets.io.text import read_text
from ebm_cli.datasets.matching import Matched
from ebm_cli.errors import UserError

READINGS = (Reading(delimiter="comma"), Reading(decimal="comma", thousands="none"))
"""Both readings of 1,5."""

SAMPLES = "x"
"""The array of samples.npz that holds the points."""


class SecondFile(NamedTuple):
    """The rows of a second file.

    Attributes:
        read: its rows and names.
        matched: which of its columns are the run's.
        note: sentence about columns that are not read; None if the names of all were compared.
    """

    read: FileRows
    matched: Matched
    note: str | None = None


def read_second(
    file: str, names: Sequence[str] | None, keys: Reading | None, match: Callable[[FileRows], Matched]
) -> SecondFile:
    """Read a file in the first way in which its columns match; missing numbers are NaN.

    Args:
        file: its path.
        names: of the run's columns; None without names.
        keys: by which the run read its own file; None for a run that was not trained on a file.
        match: finds the columns of the run, or raises ValueError.

    Raises:
        ValueError: it cannot be read, or its columns are not the run's; the message is that of the first way
            in which it can be read, or else of the first.
    """
    unread: list[ValueError] = []
    unmatched: list[ValueError] = []
    for tried, note in _ways(file, names, keys or Reading()):
        try:
            read = row_files.read_rows(file, tried, missing=True)
        except ValueError as reason:
            unread.append(reason)
            continue
        try:
            return SecondFile(read, match(read), note)
        except ValueError as reason:
            unmatched.append(reason)
    # A file that can be read lacks columns, whatever else may be said of it.
    raise [*unmatched, *unread][0]


def refusal(key: str, file: str, reason: ValueError) -> UserError:
    """The error of a second file; the keys that choose between two readings are those of a training."""
    message = f"{key}={file}: {str(reason).removeprefix(f'path {file} ').removeprefix('path ')}"
    if f"{GROUP}." in message:
        message += f"; these are keys of ebm train: for {key}= write the file as that of the run is written, or as .npy"
    return UserError(message)


def _ways(file: str, names: Sequence[str] | None, keys: Reading) -> Iterator[tuple[Reading, str | None]]:
    """Ways to read a file, and what is to be said of each."""
    is_text = row_files.READERS.get(row_files.suffix_of(Path(file))) is read_text
    style = replace(keys, array=None, columns=None, drop=None, label=None) if is_text else Reading()
    yield from ((found, None) for found in dict.fromkeys((style, Reading())))
    if is_text:
        # Of two readings the number of columns tells which is meant, and of numbers in the first line their names.
        yield from ((found, None) for found in READINGS)
        if names is not None:
            yield replace(style, header=True), None
    if names is not None:
        # A column that is not the run's may hold what is no number.
        yield replace(style, columns=tuple(names)), "only the columns of the run are read"
    if keys != style:
        own = keys if is_text else replace(keys, delimiter=None, decimal=None, thousands=None, header=None)
        if own.label is not None and own.columns is None:
            # Few rows may have too many classes for a label, which is not needed here.
            yield replace(own, label=None, drop=(*(own.drop or ()), own.label)), None
        yield own, None
    if row_files.suffix_of(Path(file)) == ".npz":
        yield Reading(array=SAMPLES), None
