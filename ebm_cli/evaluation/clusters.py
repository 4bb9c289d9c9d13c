"""Well-separated modes of rows whose density is unknown.

Two groups of rows are modes of their own if the density between them is far below that within the smaller one. With r_i
the distance of row i to its k-th neighbour, the density there is proportional to r_i^(−q) in q dimensions, and two rows
are joined at the level max(r_i, r_j, ‖x_i − x_j‖). Along the minimum spanning tree of these distances, from the densest
pair on, two groups join at a level w; they stay apart if

    q log(w / median r of the group with the lower peak) ≥ τ

The median, and not the peak, because a peak is the maximum of noisy numbers, and because a projection of one ring has
peaks at its edges but no gap. The noise of a log-density is 1/√k, or q times as much where the rows fill a curve only:
τ = max(1.3, 2.2 q/√k).

**Views.** In D columns neighbours are far away. Rows are therefore seen along the directions in which they spread most,
in units of the spread of near neighbours: cluster directions come first (invariant coordinates), and compact clusters
become round. Modes that are apart in one direction are found in a view of this direction alone, with few rows, and
rings and moons in a view of two; of the views in 1, 2 and 3 directions the one with most modes is taken.

Sources: Campello, Moulavi & Sander (2013), PAKDD (HDBSCAN: the tree of these distances); Chazal, Guibas, Oudot &
Skraba (2013), J. ACM 60(6) (ToMATo: groups that persist); Tyler, Critchley, Dümbgen & Oja (2009), JRSS B 71(3), and
Art, Gnanadesikan & Kettenring (1982), Utilitas Math. 21A (directions by two scatters, one of them of near pairs).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_ROWS = 3000
"""Rows that are clustered at most: the time grows with their square."""
MIN_ROWS = 50
"""Rows below which no mode can be told from chance."""
MAX_VIEW = 3
"""Directions of a view at most."""
NEAR = 5
"""Neighbours whose differences are the spread within clusters."""
DEGENERATE = 1e-8
"""Share of the largest variance below which a direction is no direction of the rows."""


@dataclass(frozen=True)
class Clusters:
    """Groups of rows, and the regions of space that belong to them: a point belongs to its nearest row.

    Attributes:
        centres: where each group is [K, D]: its median, or its densest part if there is nothing at the median.
        origin, directions: the view of a point x [D]: (x − origin) @ directions [D, q].
        rows: views of the rows [N, q].
        labels: group of each row [N], 0 … K − 1, the largest group first.
    """

    centres: Array
    origin: Array
    directions: Array
    rows: Array
    labels: NDArray[np.int64]

    @property
    def count(self) -> int:
        """K, the number of groups."""
        return len(self.centres)

    def label(self, x: Array) -> NDArray[np.int64]:
        """The group that each point of x [N, D] belongs to [N]."""
        from scipy.spatial import KDTree

        nearest: NDArray[np.int64] = self.labels[KDTree(self.rows).query((x - self.origin) @ self.directions)[1]]
        return nearest


def find_clusters(x: Array, rng: np.random.Generator) -> Clusters:
    """The well-separated groups of the rows x [N, D]; one group where there is no gap.

    Columns with ties are spread by a uniform number of one gap first: a lattice has no modes. Of equal rows one counts.

    Args:
        x: rows [N, D] in random order, standardised units; the first MAX_ROWS are used.
        rng: source of the uniform numbers.

    Raises:
        ValueError: fewer than MIN_ROWS different rows.

    Cost: N² D for the distances; 1 s for 3,000 rows in three or more dimensions.
    """
    x = np.unique(_spread_ties(x[:MAX_ROWS], rng), axis=0)
    if len(x) < MIN_ROWS:
        raise ValueError(f"too few different training rows to find modes: {len(x)}, and {MIN_ROWS} are needed")
    origin = x.mean(0)
    directions = _view(x - origin)
    views = [(x - origin) @ directions[:, :q] for q in range(1, directions.shape[1] + 1)]
    z, labels = max(((z, _split(z)) for z in views), key=lambda found: int(found[1].max()))
    centres = np.stack([_centre(x[labels == k], z[labels == k]) for k in range(int(labels.max()) + 1)])
    return Clusters(centres, origin, directions[:, : z.shape[1]], z, labels)


def _spread_ties(x: Array, rng: np.random.Generator) -> Array:
    """The rows, with uniform noise of the median gap on columns that have fewer than √N different values."""
    x = x.copy()
    for column in x.T:
        values = np.unique(column)
        if 1 < len(values) < math.sqrt(len(x)):
            column += float(np.median(np.diff(values))) * (rng.random(len(x)) - 0.5)
    return x


def _view(x: Array) -> Array:
    """Directions [D, q] along which centred rows x [N, D] spread most in units of their near neighbours' spread."""
    from scipy.spatial import KDTree

    directions = _whitening(np.cov(x.T).reshape(x.shape[1], -1))
    for _ in range(2):
        z = x @ directions
        near = KDTree(z).query(z, NEAR + 1)[1][:, 1:]
        difference = (z[:, None] - z[near]).reshape(-1, z.shape[1])
        directions = directions @ _whitening(difference.T @ difference / len(difference))
    z = x @ directions
    axes = np.linalg.eigh(np.cov(z.T).reshape(z.shape[1], -1))[1][:, ::-1]
    view: Array = directions @ axes[:, :MAX_VIEW]
    return view


def _whitening(scatter: Array) -> Array:
    """A matrix [D, d] in whose coordinates the scatter is I, without the directions that have none."""
    variance, axes = np.linalg.eigh(scatter)
    kept = variance > DEGENERATE * variance[-1]
    whitening: Array = axes[:, kept] / np.sqrt(variance[kept])
    return whitening


def _split(z: Array) -> NDArray[np.int64]:
    """Group [N] of each row of z [N, q]; the largest group is 0."""
    from scipy.spatial import KDTree

    n, q = z.shape
    k = max(10, int(math.sqrt(n) / 3.5))
    radius = np.maximum(KDTree(z).query(z, k + 1)[0][:, k], np.finfo(float).tiny)
    threshold = max(1.3, 2.2 * q / math.sqrt(k)) / q
    group = np.arange(n)
    members = [[i] for i in range(n)]
    for w, i, j in _spanning_tree(z, radius):
        high, low = (i, j) if radius[group[i]] <= radius[group[j]] else (j, i)
        # The name of a group is its densest row.
        a, b = group[high], group[low]
        if math.log(w / radius[b]) >= threshold and math.log(w / np.median(radius[members[b]])) >= threshold:
            continue
        group[members[b]] = a
        members[a] += members[b]
    sizes = np.bincount(group, minlength=n)
    names = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    rank = np.empty(n, dtype=np.int64)
    rank[names] = np.arange(len(names))
    labels: NDArray[np.int64] = rank[group]
    return labels


def _spanning_tree(z: Array, radius: Array) -> list[tuple[float, int, int]]:
    """Edges (w, i, j) of the minimum spanning tree, from the shortest on, by Prim's algorithm."""
    n, edges = len(z), []
    columns = np.ascontiguousarray(z.T)
    shortest, source = np.full(n, np.inf), np.zeros(n, dtype=np.int64)
    is_open = np.ones(n, dtype=bool)
    i = int(radius.argmin())
    for _ in range(n - 1):
        is_open[i] = False
        distance = np.sqrt(sum((column - column[i]) ** 2 for column in columns))
        w = np.maximum(np.maximum(distance, radius), radius[i])
        is_closer = w < shortest
        shortest[is_closer], source[is_closer] = w[is_closer], i
        i = int(np.where(is_open, shortest, np.inf).argmin())
        edges.append((float(shortest[i]), int(source[i]), i))
    return sorted(edges)


def _centre(x: Array, z: Array) -> Array:
    """Centre of a group of rows x [n, D] with the view z [n, q]: its median, if rows are dense there.

    Else, as for a ring, the mean of the third of the rows that lies in the smallest ball around one of them.
    """
    from scipy.spatial import KDTree

    tree, third = KDTree(z), max(2, len(z) // 3)
    distance, near = tree.query(z, third)
    densest = int(distance[:, -1].argmin())
    at_median = tree.query(np.median(z, 0), third)[0][-1]
    centre: Array = np.median(x, 0) if at_median < 1.5 * distance[densest, -1] else x[near[densest]].mean(0)
    return centre
