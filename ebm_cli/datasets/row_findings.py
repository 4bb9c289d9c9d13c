"""Findings about the rows as a whole: rows that are left out, numbered, equal ones, too few, images."""

from collections.abc import Iterable, Sequence

from ebm_cli.datasets.copies import Duplicates
from ebm_cli.datasets.findings import Finding, Labels, Run, without
from ebm_cli.datasets.finite import FAR_OUT, LeftOut
from ebm_cli.datasets.io.contents import counted
from ebm_cli.datasets.io.row_numbers import Numbering

ROWS_PER_COLUMN = 10
"""Rows for each column under which a score cannot be learned: a network places a minimum at every row."""
SMALLEST_IMAGE = 5
"""Pixels of the shorter side from which convolutions of 3 x 3 see more than a dense network."""
WEIGHTS_PER_NUMBER = 50
"""Weights of the network for each number of the training rows, from which the rows are far too few."""


def left_out(found: LeftOut, label: Labels) -> Iterable[Finding]:
    """Rows that the robust scale excludes."""
    if found.rows:
        rows = "1 row lies" if found.rows == 1 else f"{found.rows:,} rows lie"
        where = label.many(found.columns)
        fact = f"{rows} more than {FAR_OUT:.0f} robust standard deviations from the median of {where}"
        cure = "look at them, or set dataset.standardize=true to keep them"
        harm = "left out of all parts by dataset.standardize=robust"
        yield Finding("left_out", found.columns, found.rows, fact, harm, cure)


def copies(duplicates: Duplicates | None, has_ties: bool, run: Run) -> Iterable[Finding]:
    """Copied rows, and equal rows on both sides of the split."""
    if duplicates is None or duplicates.rows == duplicates.different:
        return
    rows, different, unseen, shared, are_copies = duplicates
    fact = f"{rows - different:,} of {rows:,} rows repeat another one ({different:,} are different)"
    spoilt = f"{shared:,} of {unseen:,} validation and test rows equal training rows"
    is_shared = shared >= max(2, 0.01 * unseen)
    if are_copies and is_shared:
        harm = f"{spoilt}, so that results on them are partly memory, and eval/nn_ratio is too large or absent"
        cure = f"{'set dataset.copies=together, or ' if 'dataset.copies' in run.keys else ''}leave out the copies"
        yield Finding("copies", (), shared, fact, harm, cure)
    elif are_copies:
        kept = f"{fact}, and equal rows are in one part of the split"
        harm = f"there are no more than {different:,} rows to learn from"
        yield Finding("copies", (), rows - different, kept, harm, "leave out the copies, or set dataset.copies=apart")
    elif is_shared and has_ties:
        harm = "eval/nn_ratio, which looks for copied rows, is too large or absent"
        yield Finding("coincidences", (), shared, f"{spoilt}, as values repeat", harm, "noise mends this, too")


def numbered(columns: Sequence[Numbering], label: Labels, run: Run) -> Iterable[Finding]:
    """Columns that may be row numbers, time stamps or identifiers: those of one kind in one line."""
    alike: dict[str, list[Numbering]] = {}
    for one in columns:
        alike.setdefault(_resembles(one), []).append(one)
    for words, group in alike.items():
        first, places = group[0], tuple(one.column for one in group)
        is_alone = len(group) == 1
        if first.is_shuffled:
            verb = f"{'holds' if is_alone else 'hold'} a different whole number in every row"
        elif is_alone and first.step is not None:
            verb = f"{'rises' if first.step > 0 else 'falls'} by {abs(first.step):,} from row to row"
        else:
            verb = "rises" if is_alone else "rise" if all((one.step or 1) > 0 for one in group) else "change evenly"
            verb += " from row to row"
        low, high = (str(x) if isinstance(x, int) else f"{x:.6g}" for x in (first.first, first.last))
        shown = f" ({low} to {high})" if is_alone else ""
        fact = f"{label.many(places)} {verb}{shown}, as {words} do"
        if isinstance(first.first, float):
            fact += f", unless the rows are sorted by {'it' if is_alone else 'them'}"
        cure = f"if {'it is one' if is_alone else 'they are such'}, {without(places, label, run)}"
        yield Finding("numbered", places, float(len(places)), fact, "", cure)


def _resembles(one: Numbering) -> str:
    """Numbers that a column may hold instead of measurements."""
    if one.is_shuffled:
        return "identifiers"
    return "row numbers and identifiers" if isinstance(one.first, int) else "time stamps"


def images(shape: Sequence[int], run: Run) -> Iterable[Finding]:
    """Images, of shape [C, H, W], whose energy does not know which pixels are neighbours."""
    if len(shape) == 3 and min(shape[1:]) >= SMALLEST_IMAGE and not run.is_convolutional:
        channels, height, width = shape
        fact = f"the rows are images of {height} x {width} pixels" + f" and {channels} channels" * (channels > 1)
        harm = "this energy does not know which pixels are neighbours"
        yield Finding("images", (), float(height * width), fact, harm, "set energy=conv, which does")


def few_rows(n: int, size: int, run: Run) -> Iterable[Finding]:
    """Too few training rows n, of `size` numbers, for the network."""
    ratio = run.n_weights / (n * size)
    is_few = run.matches_scores and n < ROWS_PER_COLUMN * size
    if not is_few and ratio <= WEIGHTS_PER_NUMBER:
        return
    fact = f"{n:,} training rows of {counted(size, 'number')} are few for a network of {run.n_weights:,} weights"
    harm = "it can memorise them" + f"; the objective of {run.method} then falls without end" * run.matches_scores
    cure = "set patience=5 eval_every=50 to stop in time, or make the network smaller (energy.width=32)"
    yield Finding("few_rows", (), ratio, fact, harm, cure)
