"""Contents of a data file as its reader returns them, and the error of a file that holds anything else."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class InvalidFile(Exception):
    """A file that does not hold rows of numbers; the message continues a sentence that begins with the file's name."""


class Contents(NamedTuple):
    """An array from a file, with the names by which messages refer to its columns and rows.

    Attributes:
        array: as it was read, of any shape and dtype.
        column_names: one a column; None if the file has none.
        row_label: position of a row (from 0) → its name in a message, for instance its line in a text file.
    """

    array: np.ndarray[Any, Any]
    column_names: Sequence[str] | None = None
    row_label: Callable[[int], str] = "row {}".format


def column_label(j: int, names: Sequence[str] | None) -> str:
    """The name of a column in a message: its position (from 0) and, if the file gives one, its name."""
    return f"column {j} ({names[j]})" if names and j < len(names) else f"column {j}"
