"""Problems of the columns of a file: every one is found before the file is refused, in one message with its cures.

path my.csv has problems in 3 columns: (1) holds dates in column day ('2020-01-01' in line 2): write them as …;
(2) has missing values (empty, NA or NaN) in columns a (1, the first in line 9) and b (…): …. 'dataset.drop=[…]' …
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Never

import numpy as np
from numpy.typing import NDArray

from ebm_cli.datasets.io.contents import FROM_0, GROUP, ColumnWords, InvalidFile, column_list, counted, key
from ebm_cli.datasets.io.pandas_call import PandasCall
from ebm_cli.quoting import typed

SHOWN = 3
"""Columns with the same problem that are shown with an example; the others are named."""
MOST_REMOVED = 0.5
"""Share of the rows that a cure removes, at most; a column that needs more is left out."""


class Problem(NamedTuple):
    """One thing that keeps a column from being trained on.

    Attributes:
        fact: what is wrong, up to the column: "holds dates in".
        column: position in the file.
        example: of the values, with the place of one, or their number.
        cure: what to do but to leave the column out, in the imperative.
        rows: rows that are to be removed [N]; None where no removal of rows cures the column.
        marks: texts that stand for a missing number.
        is_infinite: whether the problem is infinite numbers.
        is_class: whether the column may be taken as the class of each row.
    """

    fact: str
    column: int
    example: str
    cure: str = ""
    rows: NDArray[np.bool_] | None = None
    marks: tuple[str, ...] = ()
    is_infinite: bool = False
    is_class: bool = False


def raise_problems(
    problems: Sequence[Problem],
    words: ColumnWords,
    n_used: int,
    *,
    label: int | None = None,
    of_label: str = "",
    pandas: PandasCall | None = None,
) -> Never:
    """Refuse a file for all problems of its columns, with the keys, and the line of pandas, that cure them together.

    Args:
        problems: at least one.
        words: for the columns, by their positions in the file.
        n_used: columns that would be trained on.
        label: column of the classes; None if there is none yet.
        of_label: what is wrong with it; "" for nothing.
        pandas: of the file; None where pandas does not read it.

    Raises:
        InvalidFile: always.
    """
    columns = list(dict.fromkeys(problem.column for problem in problems))
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.fact, problem.cure), []).append(problem)
    said = [f"{fact} {_shown(group, words)}{f': {cure}' if cure else ''}" for (fact, cure), group in groups.items()]
    text = said[0]
    said += [of_label] if of_label else []
    if len(said) > 1:
        numbered = "; ".join(f"({i}) {one}" for i, one in enumerate(said, 1))
        text = f"has problems in {counted(len(columns), 'column')}: {numbered}"
    classes = [] if label is not None else [problem.column for problem in problems if problem.is_class]
    cures = _cures(problems, columns, classes, words, n_used, pandas)
    raise InvalidFile(f"{text}. {'; '.join(cures)}" if cures else text)


def _shown(group: Sequence[Problem], words: ColumnWords) -> str:
    """The columns of a group, the first ones with their examples."""
    shown = [f"{words.label(p.column)} ({p.example})".replace(f"{FROM_0} (", f"{FROM_0[:-1]}; ") for p in group[:SHOWN]]
    rest = [p.column for p in group[SHOWN:]]
    return ", ".join([*shown, *([column_list(rest, words.names)] if rest else [])])


def _cures(
    problems: Sequence[Problem],
    columns: Sequence[int],
    classes: Sequence[int],
    words: ColumnWords,
    n_used: int,
    pandas: PandasCall | None,
) -> list[str]:
    """Cures of all problems together: keys that leave the columns out, a class, and a file of complete rows."""
    it, them = ("it", "it") if len(columns) == 1 else ("all of them", "all of these columns")
    label = key("label", classes[-1], names=words.names) if classes else ""
    cures = []
    if len(columns) < n_used:
        cures.append(f"{words.drop(*columns)} leaves {them} out")
    if label:
        others = f" ({column_list(classes[:-1], words.names)} may be taken instead)" if len(classes) > 1 else ""
        beside = " beside it" if cures and len(columns) > 1 else ""
        cures.append(f"{label}{beside} takes {words.label(classes[-1])} as the class of each row{others}")
    kept, rows = _repaired(problems)
    left = [j for j in columns if j not in kept]
    if rows is None or pandas is None or len(left) >= n_used:
        return cures
    marks = list(dict.fromkeys(mark for p in problems if p.column in kept for mark in p.marks))
    infinite = any(p.is_infinite for p in problems if p.column in kept)
    keys = [
        typed(f"{GROUP}.path", pandas.copy),
        *([words.drop(*left)] if left else []),
        *([label] if label and left else []),
    ]
    which = it if kept == list(columns) else column_list(kept, words.names)
    cures.append(
        f"to keep {which} without {int(rows.sum()):,} of {counted(len(rows), 'row')}: "
        f"{pandas.command(kept, marks, infinite, left)} and {' '.join(keys)}"
    )
    return cures


def _repaired(problems: Sequence[Problem]) -> tuple[list[int], Any]:
    """The columns that lose their problems with some rows, and these rows [N]; None if there are no such columns."""
    kept: list[int] = []
    rows: Any = None
    hopeless = {p.column for p in problems if p.rows is None}
    for p in problems:
        if p.rows is None or p.column in hopeless:
            continue
        together = p.rows if rows is None else rows | p.rows
        if together.mean() <= MOST_REMOVED:
            kept, rows = [*dict.fromkeys([*kept, p.column])], together
    return kept, rows
