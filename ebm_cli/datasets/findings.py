"""A finding about a table, and the words that name columns in it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ebm_cli.datasets.io.contents import ColumnWords

NAMED = 4
"""Columns that a sentence names at most."""

ColumnKind = Literal["ties", "constant", "collinear", "outliers", "heavy_tail", "missing", "numbered"]
RowKind = Literal["left_out", "copies", "coincidences", "few_rows", "images"]


class Finding(NamedTuple):
    """One thing about the data that breaks a method, or spoils its results: `fact: harm; cure`.

    Attributes:
        kind: of finding.
        columns: indices of the columns; empty for the rows as a whole.
        number: that shows it; its meaning is in the fact.
        fact: clause with columns and number.
        harm: clause on what follows from it; empty if that is plain.
        cure: clause in the imperative, with the keys to set.
        unbounds: columns on which a likelihood has no upper bound because of it: half of their rows or more share one
            value, or other columns determine them.
    """

    kind: ColumnKind | RowKind
    columns: tuple[int, ...]
    number: float
    fact: str
    harm: str
    cure: str
    unbounds: tuple[int, ...] = ()

    @property
    def bears_on_results(self) -> bool:
        """True if a result of the run means something else because of it."""
        return self.kind not in ("heavy_tail", "images", "numbered")

    @property
    def breaks_score_matching(self) -> bool:
        """True if the Fisher divergence has no lower bound because of it."""
        return self.kind in ("ties", "constant", "collinear", "copies", "missing", "few_rows")

    def __str__(self) -> str:
        return f"{self.fact}{': ' * bool(self.harm)}{self.harm}; {self.cure}"


class Run(NamedTuple):
    """Part of a run that a cure depends on.

    Attributes:
        method: its name.
        matches_scores: True if the objective has no lower bound on repeated values and collinear columns.
        keys: dotted names of the keys of its data set and method, such as `dataset.drop`.
        can_whiten: True if `method.whiten` is there and off.
        n_weights: trained parameters of the energy.
        is_convolutional: True if the energy has convolutions, which see the neighbours of a pixel.
    """

    method: str
    matches_scores: bool = False
    keys: frozenset[str] = frozenset()
    can_whiten: bool = False
    n_weights: int = 0
    is_convolutional: bool = False


class Labels(NamedTuple):
    """Names of columns in sentences.

    Attributes:
        words: for the columns.
        noun: column or pixel.
    """

    words: ColumnWords
    noun: str

    @property
    def is_image(self) -> bool:
        """True if columns are pixels."""
        return self.noun == "pixel"

    def one(self, j: int) -> str:
        """`column a`."""
        return self.words.label(j)

    def many(self, columns: Sequence[int]) -> str:
        """`column a`, `columns a and b`, `columns a, b, … (9 in all)`, `3 pixels`."""
        if self.is_image:
            return f"{len(columns)} {self.noun}{'s' * (len(columns) != 1)}"
        return self.words.label(*columns, most=NAMED)


def without(columns: Sequence[int], label: Labels, run: Run) -> str:
    """The cure of columns that the table is better without, in the imperative."""
    if "dataset.drop" in run.keys:
        return f"set {label.words.drop(*columns)}"
    return f"leave {'it' if len(columns) == 1 else 'them'} out"


def to_be(columns: Sequence[int]) -> str:
    """The verb of these columns."""
    return "is" if len(columns) == 1 else "are"


def listed(words: Sequence[str]) -> str:
    """The words with commas and an `and`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
