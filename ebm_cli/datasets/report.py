"""Report on a table before it is trained on: what breaks a method, in which column, and what to do about it.

Every rule has a threshold that ordinary tables stay below (constants of `column_values`, `collinear` and `copies`), so
that a line in the report is worth reading. The rows are examined with the noise that they are served with: dequantised
or smoothed columns have no ties. Densities that are known have no report.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.datasets.collinear_findings import collinear_columns
from ebm_cli.datasets.column_values import (
    COARSE,
    FINE,
    MISSING_CODES,
    Extremes,
    Ties,
    Values,
    extremes,
    missing_code,
    robust_scale,
    ties,
)
from ebm_cli.datasets.copies import Duplicates
from ebm_cli.datasets.file import File
from ebm_cli.datasets.findings import Finding, Labels, Run, listed, to_be, without
from ebm_cli.datasets.finite import FAR_OUT, Finite
from ebm_cli.datasets.held_out_findings import far_held_out
from ebm_cli.datasets.io.contents import UNNAMED, ColumnWords
from ebm_cli.datasets.row_findings import copies, few_rows, images, left_out, numbered

MAX_ROWS = 100_000
MAX_NUMBERS = 2_000_000
"""Rows, and numbers, that are examined at most: an even selection of more."""
CONSTANT_SHARE = 0.99
"""Share of the rows with one value from which a column is nearly constant."""
DOMINANT_SHARE = 0.5
"""Share of the rows with one value from which the likelihood of a column is said to be unbounded."""
IMAGE_NOISE = 0.02
"""Noise that spreads constant pixels, in units of the images' scale."""
SHOWN = 2
"""Findings of one kind that have a sentence of their own."""


def report(dataset: Dataset, run: Run) -> tuple[Finding, ...]:
    """Examine the rows of a data set; nothing is found, or looked for, where their density is known."""
    if not isinstance(dataset, Finite):
        return ()
    scale = dataset.standardizer.scale
    # The rows are shuffled: the first ones are a random sample.
    n, label = min(MAX_ROWS, max(1000, MAX_NUMBERS // scale.numel())), Labels(dataset.column_words, "column")
    train = dataset.training_rows(n)
    found = examine(train, scale, run, dataset.column_words, dataset.duplicates(), dataset.n_train)
    if train.ndim == 2:
        unseen = torch.cat((dataset.validation(n), dataset.held_out(n)))
        seen = {
            j for finding in found if finding.kind in ("outliers", "heavy_tail", "missing") for j in finding.columns
        }
        far = (one for one in far_held_out(train, unseen, label, run) if one.columns[0] not in seen)
        found = (*_shortened(far, label), *found)
    of_file: tuple[Finding, ...] = ()
    if isinstance(dataset, File):
        # A single column cannot be left out.
        rising = numbered(dataset.numbered, label, run) if scale.numel() > 1 else ()
        of_file = (*rising, *images(dataset.shape, run))
    return (*left_out(dataset.left_out, label), *of_file, *found)


def examine(
    train: Tensor,
    scale: Tensor,
    run: Run,
    words: ColumnWords = UNNAMED,
    duplicates: Duplicates | None = None,
    n_train: int | None = None,
) -> tuple[Finding, ...]:
    """Examine a table.

    Args:
        train: training rows [N, *shape], N ≥ 2, data units, with the noise that they are trained with. Points that are
            images have pixels in place of columns, and one line for all of them.
        scale: of the standardizer [*shape], data units.
        run: what is done with the rows.
        words: for the columns.
        duplicates: equal rows of all parts; None if they were not counted.
        n_train: training rows, if `train` is a sample of them.

    Cost: a sort of each column and the correlations; 0.2 s for 100,000 rows of 20 columns, of more a sample.
    """
    x = _selection(train)
    columns = [Values.of(column) for column in np.ascontiguousarray(x.T)]
    are_copies = duplicates is not None and duplicates.are_copies
    # Copies repeat every value: only what the different rows repeat is a tie.
    for_ties = [Values.of(column) for column in np.unique(x, axis=0).T] if are_copies else columns
    label = Labels(words, "pixel" if train.ndim > 2 else "column")
    # A pixel is often white in nearly all images, which is no fault of theirs.
    least = 1.0 if label.is_image else CONSTANT_SHARE
    is_constant = [column.counts.max() >= least * column.n for column in columns]
    scales = scale.detach().cpu().double().flatten().tolist()
    found = [*_constant(columns, is_constant, scales, label, run)]
    if not label.is_image:
        found += _shortened(_missing_and_extreme(columns, is_constant, label, run), label)
    odd = {j for finding in found if finding.kind != "constant" for j in finding.columns}
    found += _ties(for_ties, scales, is_constant, odd, label, run)
    if not label.is_image:
        found += _shortened(collinear_columns(x, columns, is_constant, label, run), label)
    found += copies(duplicates, any(finding.kind == "ties" for finding in found), run)
    return (*found, *few_rows(n_train or len(train), x.shape[1], run))


def _selection(train: Tensor) -> NDArray[np.float32]:
    """At most `MAX_ROWS` rows and about `MAX_NUMBERS` numbers, evenly from all: [n, D]."""
    size = max(1, train[0].numel())
    n = min(len(train), MAX_ROWS, max(1000, MAX_NUMBERS // size))
    index = torch.arange(n) * len(train) // n
    selected = train.detach() if n == len(train) else train.detach()[index.to(train.device)]
    x: NDArray[np.float32] = selected.flatten(1).cpu().float().numpy()
    return x


def _constant(
    columns: Sequence[Values], is_constant: Sequence[bool], scales: Sequence[float], label: Labels, run: Run
) -> Iterable[Finding]:
    harm = f"the objective of {run.method} has no lower bound on a value that repeats" * run.matches_scores
    for nearly in (False, True):
        found = tuple(j for j, column in enumerate(columns) if is_constant[j] and (len(column.values) > 1) == nearly)
        if not found:
            continue
        column = columns[found[0]]
        value, share = float(column.values[column.counts.argmax()]), float(column.counts.max() / column.n)
        fact = f"{label.many(found)} {to_be(found)} {'nearly ' * nearly}constant"
        detail = f"{value:.6g}" + f" in {_percent(share)} of the rows" * nearly
        fact += f" ({detail})" * (len(found) == 1)
        cure = _spread(columns, max(scales), run) if label.is_image else without(found, label, run)
        yield Finding("constant", found, value, fact, harm, cure, unbounds=found)


def _spread(columns: Sequence[Values], scale: float, run: Run) -> str:
    """The cure of pixels that are constant, which cannot be left out."""
    if "dataset.dequantise" in run.keys and all(column.is_whole for column in columns):
        return "set dataset.dequantise=true"
    return (
        f"set dataset.noise_std={IMAGE_NOISE * scale:.2g}" if "dataset.noise_std" in run.keys else "add noise to them"
    )


def _shortened(findings: Iterable[Finding], label: Labels) -> Iterable[Finding]:
    """The findings of each kind; from the one after `SHOWN`, they are one that names the other columns."""
    by_kind: dict[str, list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    for group in by_kind.values():
        shown, rest = (group, []) if len(group) <= SHOWN + 1 else (group[:SHOWN], group[SHOWN:])
        yield from shown
        if rest:
            columns = tuple(finding.columns[0] for finding in rest)
            fact = f"the same ({rest[0].kind.replace('_', ' ')}) in {label.many(columns)}"
            unbounds = tuple(j for finding in rest for j in finding.unbounds)
            yield rest[0]._replace(columns=columns, fact=fact, harm="", cure="as above", unbounds=unbounds)


def _missing_and_extreme(
    columns: Sequence[Values], is_constant: Sequence[bool], label: Labels, run: Run
) -> Iterable[Finding]:
    for j, column in enumerate(columns):
        if is_constant[j]:
            continue
        code = missing_code(column)
        if code is not None:
            share = float(column.counts[column.values == code][0] / column.n)
            yield Finding(
                "missing",
                (j,),
                code,
                f"{label.one(j)}: {code:.8g}, in {_percent(share)} of the rows, seems to stand for a missing value",
                "it is taken for a number",
                f"leave out these rows{_robust_leaves_out(column, code, run)}, or fill them in",
            )
            continue
        far = extremes(column)
        if far is not None:
            yield _extreme(j, far, column, label, run)


def _robust_leaves_out(column: Values, code: float, run: Run) -> str:
    """A remark on rows with a code that lies so far off that the robust scale excludes them."""
    scale = robust_scale(column)
    is_far = scale is not None and abs(code - scale[0]) > FAR_OUT * scale[1]
    return " (dataset.standardize=robust does)" if is_far and "dataset.standardize" in run.keys else ""


def _extreme(j: int, far: Extremes, column: Values, label: Labels, run: Run) -> Finding:
    robust = "dataset.standardize=robust" if "dataset.standardize" in run.keys else ""
    others = f"the others {'within' if abs(far.median) <= far.others else f'{far.median:.4g} ±'} {far.others:.3g}"
    if far.kind == "outliers":
        count = "one value is" if far.rows == 1 else f"{far.rows} values are far off, up to"
        text = f"{label.one(j)}: {count} {far.farthest:.6g}, {others}"
        harm = f"the column's scale is {far.ratio:.3g} times that of its quartiles"
        if far.farthest in MISSING_CODES:
            harm += f", and {far.farthest:.8g} often stands for a missing value"
        rows = "row" if far.rows == 1 else "rows"
        options = f"leave out the {rows}" + f", or set {robust}, which does" * bool(robust)
        return Finding("outliers", (j,), far.farthest, text, harm, options)
    text = (
        f"{label.one(j)} has a heavy tail: up to {far.farthest:.4g}, with {_percent(far.rows / column.n)} of the rows "
        "more than 10 robust standard deviations from the median"
    )
    transform = "train on its logarithm" if column.values[0] > 0 else "train on a transform of it, such as asinh"
    cure = " or ".join(filter(None, [transform, f"set {robust}" * bool(robust)]))
    return Finding("heavy_tail", (j,), far.farthest, text, "", cure)


def _ties(
    columns: Sequence[Values],
    scales: Sequence[float],
    is_constant: Sequence[bool],
    odd: set[int],
    label: Labels,
    run: Run,
) -> Iterable[Finding]:
    """One finding for all columns with repeated values, those of one kind together."""
    found: dict[str, dict[int, Ties]] = {}
    resolution = FINE if run.matches_scores else COARSE
    for j, column in enumerate(columns):
        tied = None if is_constant[j] or column.is_distinct else ties(column, min(scales[j], column.std), resolution)
        if tied is not None and not (tied.kind == "atom" and j in odd):
            found.setdefault(tied.kind, {})[j] = tied
    if not found:
        return
    parts = []
    for kind, group in found.items():
        most = _percent(max(tied.share for tied in group.values()))
        first, has = next(iter(group.values())), "has" if len(group) == 1 else "have"
        alone = len(group) == 1
        words = {
            "two": "only two values",
            "whole": f"{first.n_values} different whole numbers" if alone else "whole numbers",
            "rounded": f"rounded numbers (steps of {_span([tied.step for tied in group.values()])})",
            "atom": f"the value {first.value:.6g} in {most} of the rows"
            if alone
            else f"a value in up to {most} of the rows",
        }
        parts.append(f"{label.many([*group])} {has} {words[kind]}")
    if run.matches_scores:
        harm = f"the objective of {run.method} has no lower bound on repeated values"
    elif "method.sigma" in run.keys:
        harm = "the model learns a peak at each of them, as wide as method.sigma"
    else:
        harm = "a density can become arbitrarily high on repeated values, so that its NLL says little"
    indices = tuple(j for group in found.values() for j in group)
    cure = _smoothing(found, scales, label.is_image, run)
    dominated = tuple(j for j in indices if columns[j].counts.max() >= DOMINANT_SHARE * columns[j].n)
    yield Finding("ties", indices, float(len(indices)), listed(parts), harm, cure, unbounds=dominated)


def _smoothing(found: Mapping[str, Mapping[int, Ties]], scales: Sequence[float], is_image: bool, run: Run) -> str:
    """Noise that removes ties: uniform for whole numbers; normal where others are tied or the density must not jump."""
    steps = [one.step for group in found.values() for one in group.values()]
    is_uniform = (is_image or not run.matches_scores) and set(found) <= {"two", "whole"}
    cures = []
    if "dataset.dequantise" in run.keys:
        cures.append(f"dataset.dequantise={'true' if is_uniform else 'gaussian'}")
    if max(steps) / 2 < min(scales):
        cures.append(f"dataset.noise_std={max(steps) / 2:.2g}")
    return f"set {' or '.join(cures)}" if cures else "add noise to these columns"


def _span(steps: Sequence[float]) -> str:
    low, high = f"{min(steps):.2g}", f"{max(steps):.2g}"
    return low if low == high else f"{low} to {high}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
