"""A line of pandas that writes a file anew without the rows in which something is missing."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ebm_cli.quoting import shell_word

_ESCAPES = re.compile(r"\\[ts]")
"""Escapes of Python that a shell leaves alone between double quotes."""


class PandasCall(NamedTuple):
    """The call by which pandas reads a file as it was read here.

    Attributes:
        file: its path.
        reader: name of the function.
        arguments: behind the path, as they are written.
        names: that pandas gives the columns, one a column of the file.
        writing: arguments of to_csv, so that the keys which read the file also read its copy.
    """

    file: Path
    reader: str
    arguments: tuple[str, ...]
    names: Sequence[str | int]
    writing: tuple[str, ...] = ()

    @property
    def copy(self) -> Path:
        """The file that is written, beside the one that is read."""
        near = _near(self.file)
        return near.with_name(f"{near.name.split('.')[0]}_complete.csv")

    def command(
        self, columns: Sequence[int], marks: Sequence[str] = (), infinite: bool = False, texts: Sequence[int] = ()
    ) -> str:
        """The command that writes the copy.

        Args:
            columns: positions of those in which nothing may be missing.
            marks: texts that stand for a missing number.
            infinite: whether an infinite number counts as missing.
            texts: positions of columns that are copied as they are; pandas would take a date with points for a number.
        """
        na_values = [f"na_values={list(marks)!r}"] if marks else []
        if texts and self.reader == "read_csv":
            na_values.append(f"dtype={dict.fromkeys((self.names[j] for j in texts), 'str')!r}")
        subset = f"subset={[self.names[j] for j in columns]!r}"
        steps = [
            f"{self.reader}({', '.join([repr(str(_near(self.file))), *self.arguments, *na_values])})",
            *(["replace([float('inf'), -float('inf')], float('nan'))"] if infinite else []),
            f"dropna({subset})",
            f"to_csv({', '.join([repr(str(self.copy)), *self.writing, 'index=False'])})",
        ]
        code = f"import pandas; pandas.{'.'.join(steps)}"
        plain = _ESCAPES.sub("", code)
        return f'python -c "{code}"' if shell_word(plain).startswith('"') else f"python -c {shell_word(code)}"


def _near(file: Path) -> Path:
    """The path as a person types it in the working directory, where the file is inside."""
    return Path(os.path.relpath(file)) if file.is_relative_to(Path.cwd()) else file
