"""Problems of the columns of a file: every one is found before the file is refused, in one message with its cures.

path my.csv has problems in 3 columns: (1) holds dates in column day ('2020-01-01' in line 2): write them as …;
(2) has missing values (empty, NA or NaN) in columns a (1, the first in line 9) and b (…): …. 'dataset.drop=[…]' …
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Never

import numpy as np
from numpy.typing import NDArray

from ebm_cli.datasets.io.contents import FROM_0, GROUP, ColumnWords, InvalidFile, column_list, counted, key
from ebm_cli.datasets.io.rewriting import Repair, Rewriting
from ebm_cli.quoting import typed

SHOWN = 3
"""Columns with the same problem that are shown with an example; the others are named."""
MOST_REMOVED = 0.5
"""Share of the rows that a cure removes, at most; a column that needs more is left out."""

LONGEST = 1_900
"""Characters of a message; the command line shows some more, and would cut a longer one within a command."""
AS_WRITTEN = "{0}"
"""The expression of a column whose text holds numbers: in a copy in text they are numbers."""
MISSING_CLASS = typed(f"{GROUP}.missing_class", True)
"""The key that takes the rows without a class as a class of their own."""


class Problem(NamedTuple):
    """One thing that keeps a column from being trained on, or may do so.

    Attributes:
        fact: what is wrong, up to the column: "holds dates in".
        column: position in the file.
        example: of the values, with the place of one, or their number.
        cure: what to do but to leave the column out, in the imperative.
        rows: rows that are to be removed [N], none of them where `expression` alone cures the column; None where no
            copy of the file does.
        marks: texts and numbers that stand for a missing number.
        is_infinite: whether some numbers are infinite.
        expression: of pandas, with {0} for the column, that makes numbers of it in a copy of the file.
        parts: name of a part of the column → expression that makes it: columns that may stand for this one, or that do
            so in a copy where there is no `expression`.
        is_class: whether the column may be taken as the class of each row.
        has_gaps: whether some rows would have no class then.
        is_doubt: whether the column is trained on as it is, if there is no other problem.
        has_other_mark: whether decimals of the column are written with another mark than those of the file.
    """

    fact: str
    column: int
    example: str
    cure: str = ""
    rows: NDArray[np.bool_] | None = None
    marks: tuple[str | float, ...] = ()
    is_infinite: bool = False
    expression: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    is_class: bool = False
    has_gaps: bool = False
    is_doubt: bool = False
    has_other_mark: bool = False


class ClassFaults(NamedTuple):
    """The column of the classes, and what is wrong with them beside a problem of that column.

    Attributes:
        column: position in the file; None if the classes are in none.
        reason: sentence; "" for nothing.
        has_gaps: whether that is that some rows have no class.
    """

    column: int | None = None
    reason: str = ""
    has_gaps: bool = False


def raise_problems(
    problems: Sequence[Problem],
    words: ColumnWords,
    n_used: int,
    classes: ClassFaults,
    rewriting: Rewriting | None = None,
) -> Never:
    """Refuse a file for all problems of its columns, with the keys, and the command, that cure them together.

    Args:
        problems: at least one.
        words: for the columns, by their positions in the file.
        n_used: columns that would be trained on.
        classes: of the rows.
        rewriting: of the file; None where there is none.

    Raises:
        InvalidFile: always.
    """
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in sorted(problems, key=lambda problem: problem.is_doubt):
        groups.setdefault((problem.fact, problem.cure), []).append(problem)
    said = [f"{fact} {_shown(group, words)}{f': {cure}' if cure else ''}" for (fact, cure), group in groups.items()]
    text = said[0]
    said += [classes.reason] if classes.reason else []
    if len(said) > 1:
        numbered = "; ".join(f"({i}) {one}" for i, one in enumerate(said, 1))
        n_columns = len({problem.column for problem in problems})
        text = f"has problems in {counted(n_columns, 'column')}: {numbered}"
    cures = "; ".join(_short_enough(_cures(problems, words, n_used, classes, rewriting), LONGEST - len(text)))
    raise InvalidFile(f"{text}. {f'T{cures[1:]}' if cures.startswith('to ') else cures}" if cures else text)


def _short_enough(cures: Sequence[str], room: int) -> list[str]:
    """The cures that fit into so many characters, in their order: a part of a command is none."""
    found: list[str] = []
    for cure in cures:
        if sum(map(len, found)) + len(cure) <= room:
            found.append(cure)
    return (
        found
        if found or not cures
        else [f"{GROUP}.drop leaves columns out; a command that keeps them would be too long to show"]
    )


def _shown(group: Sequence[Problem], words: ColumnWords) -> str:
    """The columns of a group, the first ones with their examples."""
    shown = [f"{words.label(p.column)} ({p.example})".replace(f"{FROM_0} (", f"{FROM_0[:-1]}; ") for p in group[:SHOWN]]
    rest = [p.column for p in group[SHOWN:]]
    return ", ".join([*shown, *([column_list(rest, words.names)] if rest else [])])


def _cures(
    problems: Sequence[Problem],
    words: ColumnWords,
    n_used: int,
    faults: ClassFaults,
    rewriting: Rewriting | None,
) -> list[str]:
    """Cures of all problems together: keys that leave the columns out, a class, and a copy of the file."""
    label = faults.column
    every = list(dict.fromkeys(problem.column for problem in problems))
    columns = list(dict.fromkeys(p.column for p in problems if p.column != label and not p.is_doubt))
    classes = [p for p in problems if p.is_class and label is None]
    cures = []
    if columns and len(columns) < n_used:
        them = words.label(*columns) if columns != every else "all of these columns" if len(columns) > 1 else "it"
        cures.append(f"{words.drop(*columns)} leaves {them} out")
    chosen: list[str] = []
    if classes:
        *others, best = classes
        chosen = [key("label", best.column, names=words.names), *([MISSING_CLASS] if best.has_gaps else [])]
        beside = " beside it" if cures and len(columns) > 1 else ""
        gaps = ", missing ones as a class of their own" * best.has_gaps
        instead = f" ({column_list([p.column for p in others], words.names)} may be taken instead)" if others else ""
        cures.append(
            f"{' '.join(chosen)}{beside} takes {words.label(best.column)} as the class of each row{gaps}{instead}"
        )
    if label in every or faults.has_gaps:
        cures.append(f"{MISSING_CLASS} takes the rows without a class as a class of their own")
    cured, rows = _repaired(problems)
    kept = list(dict.fromkeys(p.column for p in cured))
    left = [j for j in columns if j not in kept]
    if rows is None or rewriting is None or len(left) >= n_used:
        return cures
    n = int(rows.sum())
    which = column_list(kept, words.names) if set(kept) != set(every) else "it" if len(every) == 1 else "all of them"
    how = f"without {n:,} of {counted(len(rows), 'row')}" if n else "as numbers"
    if faults.has_gaps or (label in every and label not in kept):
        chosen = [MISSING_CLASS]
    elif not left:
        chosen = []
    texts = [*left, *([] if label is None else [label])]
    keys = [typed(f"{GROUP}.path", rewriting.copy), *rewriting.keys, *words.choice(*left), *chosen]
    repair, read = _repair(cured, texts), " ".join(keys)
    cures.append(f"to keep {which} {how}: {rewriting.command(repair)} and {read}")
    if either := {p.column: p.parts for p in cured if p.parts and p.expression}:
        names = [name for name, _ in next(iter(either.values()))]
        them = "it" if len(every) == 1 else column_list([*either], words.names)
        command = rewriting.command(repair._replace(parts={**repair.parts, **either}))
        cures.append(f"or with {', '.join(names[:-1])} and {names[-1]} of {them}: {command} and {read}")
    return cures


def _repaired(problems: Sequence[Problem]) -> tuple[list[Problem], Any]:
    """The problems that a copy of the file lacks, and the rows [N] that it lacks, None without such problems.

    All problems of a column are cured, or none: those that keep it from being read first, then doubts.
    """
    cured: list[Problem] = []
    rows: Any = None
    hard, doubts = ([p for p in problems if p.is_doubt is is_doubt] for is_doubt in (False, True))
    groups = [[p for p in hard if p.column == j] for j in dict.fromkeys(p.column for p in hard)]
    for group in [*groups, *([p] for p in doubts)]:
        is_open = any(p.column == group[0].column and not any(p is one for one in cured) for p in hard)
        if any(p.rows is None for p in group) or (group[0].is_doubt and is_open):
            continue
        together = np.any([p.rows for p in group] + ([] if rows is None else [rows]), axis=0)
        if together.mean() <= MOST_REMOVED:
            cured, rows = [*cured, *group], together
    return cured, rows


def _repair(cured: Sequence[Problem], texts: Sequence[int]) -> Repair:
    """The changes of columns that cure these problems in a copy."""
    marks: dict[int, list[str | float]] = {}
    for p in cured:
        if p.marks:
            marks[p.column] = list(dict.fromkeys([*marks.get(p.column, []), *p.marks]))
    infinite = list(dict.fromkeys(p.column for p in cured if p.is_infinite))
    texts = [*texts, *(p.column for p in cured if p.expression == AS_WRITTEN)]
    expressions = {p.column: p.expression for p in cured if p.expression not in ("", AS_WRITTEN)}
    complete = list(dict.fromkeys(p.column for p in cured if p.rows is not None and p.rows.any()))
    parts = {p.column: p.parts for p in cured if p.parts and not p.expression}
    return Repair(complete, marks, infinite, texts, expressions, parts)
