"""Findings about columns that other columns determine, exactly or nearly."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ebm_cli.datasets.collinear import EXACTLY, collinear
from ebm_cli.datasets.column_values import Values
from ebm_cli.datasets.findings import Finding, Labels, Run, without

MAX_CORRELATED = 20_000
"""Rows of correlations, at most."""


def collinear_columns(
    x: NDArray[np.float32], columns: Sequence[Values], is_constant: Sequence[bool], label: Labels, run: Run
) -> Iterable[Finding]:
    """Copies and linear functions of other columns, of rows x [N, D] whose columns are given."""
    varies = [j for j, constant in enumerate(is_constant) if not constant]
    some = x[:: -(-len(x) // MAX_CORRELATED)][:, varies].astype(np.float64)
    ordinary = _ordinary_rows(some, [columns[j] for j in varies])
    for found in collinear(ordinary):
        j, of = varies[found.column], [varies[i] for i in found.of]
        sd = found.left**0.5
        exact = found.left < EXACTLY
        if len(of) == 1:
            text = f"{label.one(j)} is {'a copy of ' if exact else 'nearly a copy of '}{label.one(of[0])}"
        else:
            text = f"{label.one(j)} is {'' if exact else 'nearly '}a linear function of {label.many(of)}"
        text += "" if exact else f" (what they leave of it is {sd:.1g} of its standard deviation)"
        whiten = "set method.whiten=true" if run.can_whiten else ""
        cure = " or ".join(filter(None, [whiten, without((j,), label, run)]))
        harm = f"the objective of {run.method} has {'no' if exact else 'an extremely low'} lower bound on it"
        yield Finding("collinear", (j, *of), sd, text, harm * run.matches_scores, cure, (j,) if exact else ())


def _ordinary_rows(x: NDArray[np.float64], columns: Sequence[Values]) -> NDArray[np.float64]:
    """The rows whose numbers are not far in any column: outliers in the same row make any two columns collinear."""
    keep = np.ones(len(x), bool)
    for j, column in enumerate(columns):
        lower, median, upper = column.quantiles(0.05, 0.5, 0.95)
        if upper > lower:
            keep &= np.abs(x[:, j] - median) <= 10 * (upper - lower)
    left = x[keep]
    return left if len(left) > len(x) / 2 and bool((left.std(0) > 0).all()) else x
