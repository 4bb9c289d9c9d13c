"""Gradient-boosted trees of a few leaves, a classifier of two classes of rows.

    F ← F + η · tree,    a leaf's value −G / H,    G = Σ σ(F) − y,   H = Σ σ(F) (1 − σ(F)) over its rows,

the Newton step of the logistic loss in each leaf. A tree grows by the leaf and the cut of one coordinate for which the
gain G_l²/H_l + G_r²/H_r − G²/H is largest. Cuts lie between at most 255 bins with equally many rows, over which G and H
are summed once; of two children the one with fewer rows is summed, and the other is the difference.

Sources: Friedman (2001), Ann. Stat. 29(5), algorithm 5; Ke et al. (2017), NeurIPS (sums over bins, growth by the best
leaf).

`log_odds` is scikit-learn's `HistGradientBoostingClassifier` with the constants below, cut for cut (a test), in numpy:
the import of scikit-learn takes a second, too long for a small run. With many coordinates its compiled loops are
faster.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 30
LEAVES = 8
MIN_LEAF_ROWS = 5
SHRINKAGE = 0.1
BINS = 255
MIN_LEAF_HESSIAN = 1e-3
"""Smallest H of a leaf."""


def log_odds(z: NDArray[Any], first: NDArray[Any], fold: NDArray[Any]) -> NDArray[Any]:
    """F = log P(first | z) / P(not first | z) of each row [N], by trees that were trained on the other folds.

    Args:
        z: rows [N, D].
        first: whether a row is of the first class [N].
        fold: of each row [N], whole numbers from 0.

    Cost: for each fold ROUNDS trees; for 2,000 rows in two dimensions 15 ms.
    """
    odds = np.zeros(len(z))
    for k in range(int(fold.max()) + 1):
        train, test = fold != k, fold == k
        odds[test] = _fit(z, first, train)[test]
    return odds


def log_odds_compiled(z: NDArray[Any], first: NDArray[Any], fold: NDArray[Any]) -> NDArray[Any]:
    """Compute what `log_odds` does, by scikit-learn.

    Cost: a second for the import, then a fifth of the time of `log_odds` in 64 dimensions.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # scikit-learn's own dependency

    odds = np.zeros(len(z))
    with threadpool_limits(1):
        for k in range(int(fold.max()) + 1):
            trees = HistGradientBoostingClassifier(
                max_iter=ROUNDS,
                max_leaf_nodes=LEAVES,
                min_samples_leaf=MIN_LEAF_ROWS,
                early_stopping=False,
                random_state=0,
            )
            trees.fit(z[fold != k], first[fold != k])
            odds[fold == k] = trees.decision_function(z[fold == k])
    return odds


def _fit(z: NDArray[Any], first: NDArray[Any], train: NDArray[Any]) -> NDArray[Any]:
    """Fit F to the rows of the mask `train`, and evaluate it at every row [N]."""
    bins = np.stack([np.searchsorted(_bin_edges(column[train]), column) for column in z.T], axis=1)
    share = first[train].mean()
    f = np.full(len(z), np.log(share / (1 - share)))
    y = first.astype(float)
    for _ in range(ROUNDS):
        odds = np.exp(-f)
        # In float32, as scikit-learn has them.
        g = np.where(train, (1 - y - y * odds) / (1 + odds), 0).astype(np.float32)
        h = np.where(train, odds / (1 + odds) ** 2, 0).astype(np.float32)
        f += SHRINKAGE * _grow_tree(bins, np.stack([g, h, train.astype(np.float32)]))
    return f


def _bin_edges(column: NDArray[Any]) -> NDArray[Any]:
    """Edges between bins [at most BINS − 1]: x is in bin i for edge i−1 < x ≤ edge i."""
    values = np.unique(column)
    if len(values) <= BINS:
        edges: NDArray[Any] = (values[1:] + values[:-1]) / 2
    else:
        edges = np.percentile(column, np.linspace(0, 100, BINS + 1)[1:-1], method="averaged_inverted_cdf")
    return edges


def _grow_tree(bins: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """Grow a tree on (g, h, 1) [3, N], which are 0 for rows that do not count; the value of each row's leaf [N]."""
    codes = bins + (BINS + 1) * np.arange(bins.shape[1])
    leaf = np.zeros(len(bins), dtype=np.int64)
    sums = np.zeros((LEAVES, 3))
    sums[0] = weights.sum(1, dtype=np.float64)
    tables = {0: _sum_bins(codes, weights)}
    # Leaf that may be cut → (gain, bin, coordinate, (G, H, n) on the left).
    best = dict(zip([0], _best_cuts(tables[0][None], sums[:1]), strict=True))
    for new in range(1, LEAVES):
        old = max(best, key=lambda name: best[name][0])
        gain, edge, coordinate, left = best.pop(old)
        if gain <= 0:
            break
        rows = np.flatnonzero(leaf == old)
        right = bins[rows, coordinate] > edge
        leaf[rows[right]] = new
        sums[new], sums[old] = sums[old] - left, left
        if new + 1 == LEAVES:
            break
        few, many = (old, new) if sums[old, 2] < sums[new, 2] else (new, old)
        some = rows[right == (few == new)]
        whole = tables.pop(old)
        tables[few] = _sum_bins(codes[some], weights[:, some])
        tables[many] = whole - tables[few]
        pair = [old, new]
        best |= zip(pair, _best_cuts(np.stack([tables[name] for name in pair]), sums[pair]), strict=True)
    value = -sums[:, 0] / (sums[:, 1] + 1e-15)
    leaf_value: NDArray[Any] = value[leaf]
    return leaf_value


def _sum_bins(codes: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """Σ (g, h, 1) in each bin of each coordinate: codes [n, D], weights [3, n] → [3, D, BINS + 1]."""
    dim, flat = codes.shape[1], codes.ravel()
    size = dim * (BINS + 1)
    table = [np.bincount(flat, np.repeat(w, dim), size) for w in weights]
    return np.stack(table).reshape(3, dim, BINS + 1)


def _best_cuts(tables: NDArray[Any], whole: NDArray[Any]) -> list[tuple[float, int, int, NDArray[Any]]]:
    """The cut of each leaf with the largest gain: (gain, bin, coordinate, (G, H, n) on its left); gain 0 for no cut.

    Shapes: tables [leaves, 3, D, BINS + 1], whole [leaves, 3].
    """
    left = tables.cumsum(3)
    right = whole[:, :, None, None] - left
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = left[:, 0] ** 2 / (left[:, 1] + 1e-15) + right[:, 0] ** 2 / (right[:, 1] + 1e-15)
    allowed = np.minimum(left[:, 2], right[:, 2]) >= MIN_LEAF_ROWS
    allowed &= np.minimum(left[:, 1], right[:, 1]) >= MIN_LEAF_HESSIAN
    before = whole[:, 0] ** 2 / (whole[:, 1] + 1e-15)
    gain = np.where(allowed, gain - before[:, None, None], 0)
    found = []
    for cut, sums, at in zip(gain, left, gain.reshape(len(gain), -1).argmax(1), strict=True):
        coordinate, edge = divmod(int(at), BINS + 1)
        found.append((float(cut[coordinate, edge]), edge, coordinate, sums[:, coordinate, edge]))
    return found
