"""A line of pandas that writes a file anew: without rows in which something is missing, and with numbers for text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from ebm_cli.datasets.io.contents import Reading
from ebm_cli.datasets.io.number_format import NumberFormat
from ebm_cli.datasets.io.rewriting import Repair, Rewriting, copy_of, near, python_command

NAN = "float('nan')"
INFINITE = "[float('inf'), -float('inf')]"


@final
@dataclass(frozen=True)
class PandasCall(Rewriting):
    """The call by which pandas reads a file as it was read here.

    Attributes:
        file: its path.
        reader: name of the function.
        arguments: behind the path, as they are written.
        names: that pandas gives the columns, one a column of the file.
        writing: arguments of to_csv, so that the keys which read the file also read its copy.
        keys: that the copy is read with, as they are typed.
        frame: expression of the table, with {0} for the path, where no function of pandas alone reads the file.
        library: that this expression needs beside pandas.
    """

    file: Path
    reader: str
    arguments: tuple[str, ...]
    names: Sequence[object]
    writing: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    frame: str = ""
    library: str = ""

    @property
    def copy(self) -> Path:
        return copy_of(self.file, ".csv")

    def command(self, repair: Repair) -> str:
        names = [str(name) for name in self.names]
        path = repr(str(near(self.file)))
        read = f"pandas.{self.reader}({', '.join([path, *self.arguments, *self._reading(repair)])})"
        steps = [
            self.frame.format(path) if self.frame else read,
            *(["rename(columns=str)"] if names != list(self.names) else []),
            *self._replaced(repair, names),
            *([f"assign(**{{{assigned}}})"] if (assigned := _assigned(repair, names)) else []),
            *([f"dropna(subset={[names[j] for j in repair.complete]!r})"] if repair.complete else []),
            *([f"drop(columns={[names[j] for j in repair.parts]!r})"] if repair.parts else []),
            f"to_csv({', '.join([repr(str(self.copy)), *self.writing, 'index=False'])})",
        ]
        libraries = f"{self.library}, pandas" if self.library else "pandas"
        return python_command(f"import {libraries}; {'.'.join(steps)}")

    @property
    def _reads_text(self) -> bool:
        return self.reader == "read_csv"

    def _reading(self, repair: Repair) -> list[str]:
        """Arguments of the reader: what is missing, and what is text; a date with points is a number to pandas."""
        if not self._reads_text:
            # A class may be called NA in a workbook.
            return ["keep_default_na=False", "na_values=['']"] if self.reader == "read_excel" and repair.texts else []
        found = []
        if marks := {self.names[j]: list(values) for j, values in repair.marks.items()}:
            every = list(dict.fromkeys(value for values in marks.values() for value in values))
            # A text stands for nothing else in another column; a number may be one there.
            found.append(f"na_values={every if all(isinstance(value, str) for value in every) else marks!r}")
        if texts := list(dict.fromkeys([*repair.texts, *repair.expressions, *repair.parts])):
            found.append(f"dtype={dict.fromkeys((self.names[j] for j in texts), 'str')!r}")
        return found

    def _replaced(self, repair: Repair, names: Sequence[str]) -> list[str]:
        """Steps that make values missing, column by column: pandas replaces nothing in a frame that holds lists."""
        found = []
        if repair.marks and not self._reads_text:
            found.append(f"replace({ {names[j]: list(values) for j, values in repair.marks.items()}!r}, {NAN})")
        if repair.infinite:
            infinite = ", ".join(f"{names[j]!r}: {INFINITE}" for j in repair.infinite)
            found.append(f"replace({{{infinite}}}, {NAN})")
        return found


def copy_keys(names: Sequence[str] | None, keys: Reading, style: NumberFormat | None = None) -> tuple[str, ...]:
    """The keys that read a copy in text: those that read the file, and `header` where its first line may be a row.

    Args:
        names: of the columns; None if the copy has none.
        keys: by which the file was read.
        style: of the numbers of a file in text; None for any other, whose copy has decimal points.
    """
    if names is None or any(map((style or NumberFormat()).is_number, names)):
        keys = replace(keys, header=names is not None)
    elif style is None:
        keys = replace(keys, header=None)
    of_text = ("delimiter", "decimal", "thousands") if style is not None else ()
    return tuple(keys.typed(*of_text, "header", "label", "missing_class"))


def _assigned(repair: Repair, names: Sequence[str]) -> str:
    """Keyword arguments of assign: each column by an expression of itself, and its parts beside it."""
    made = [(j, names[j], one) for j, one in repair.expressions.items() if j not in repair.parts]
    made += [(j, f"{names[j]}_{name}", one) for j, parts in repair.parts.items() for name, one in parts]
    return ", ".join(f"{name!r}: lambda f: {one.format(f'f[{names[j]!r}]')}" for j, name, one in made)
