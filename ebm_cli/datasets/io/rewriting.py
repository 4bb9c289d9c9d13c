"""Copy of a file in which its columns are cured: what is done to them, and the command that writes it."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ebm_cli.quoting import shell_word

_ESCAPES = re.compile(r"\\[ts]")
"""Escapes of Python that a shell leaves alone between double quotes."""


class Repair(NamedTuple):
    """Changes of the columns of a file, which are named by their positions.

    Attributes:
        complete: columns in which nothing may be missing: other rows are left out.
        marks: column → texts and numbers that stand for a missing number in it.
        infinite: columns in which an infinite number counts as missing.
        texts: columns that are copied as they are written.
        expressions: column → expression of pandas that makes numbers of it, with {0} for the column.
        parts: column → its parts, name → expression, which stand in its place.
    """

    complete: Sequence[int]
    marks: Mapping[int, Sequence[str | float]] = MappingProxyType({})
    infinite: Sequence[int] = ()
    texts: Sequence[int] = ()
    expressions: Mapping[int, str] = MappingProxyType({})
    parts: Mapping[int, Sequence[tuple[str, str]]] = MappingProxyType({})


class Rewriting(ABC):
    """The way in which a library reads a file and writes a copy of it.

    Attributes:
        file: its path.
        keys: that the copy is read with beside its path, as they are typed.
    """

    file: Path
    keys: tuple[str, ...]

    @property
    @abstractmethod
    def copy(self) -> Path:
        """The file that is written, beside the one that is read."""

    @abstractmethod
    def command(self, repair: Repair) -> str:
        """The command that writes the copy, for a shell."""


def copy_of(file: Path, suffix: str) -> Path:
    """The path of a copy beside a file: x_complete.csv of x.csv.gz."""
    short = near(file)
    return short.with_name(f"{short.name.split('.')[0]}_complete{suffix}")


def near(file: Path) -> Path:
    """The path as a person types it in the working directory, where the file is inside."""
    return Path(os.path.relpath(file)) if file.is_relative_to(Path.cwd()) else file


def python_command(code: str) -> str:
    """The command that runs a line of Python in a shell."""
    plain = _ESCAPES.sub("", code)
    return f'python -c "{code}"' if shell_word(plain).startswith('"') else f"python -c {shell_word(code)}"
