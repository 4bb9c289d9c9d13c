"""Two-sample distances between a model's samples and the data, each with its noise floor.

    MMD²   = E k(x, x') + E k(y, y') − 2 E k(x, y)              k: mean of Gaussians of several widths
    E²     = 2 E‖x − y‖ − E‖x − x'‖ − E‖y − y'‖                 the energy distance
    SW₁    = E_θ W₁(θᵀx, θᵀy) = E_θ ∫ |F_θ(t) − G_θ(t)| dt      θ uniform on the unit sphere
    C2ST   = accuracy of a classifier of x against y on rows it was not trained on       (`classifier_test`)

A distance between finite samples is not 0 where both come from the same distribution, so each has a *null*: the mean of
the same distance between two samples of the data, over random splits of 2n data rows in halves (every such split is an
exact draw of two independent samples). Each also has a p-value, under the hypothesis that x and y have one
distribution: the share of random relabellings of the 2n rows of x and y together that are at least as far apart, which
is exact at any n. The classifier is too slow to be trained that often; its p-value comes from its class probabilities.

MMD and energy distance are the square roots of unbiased estimates of their squares, and 0 where an estimate is
negative, as half of the estimates are for an exact model. W₁ is taken rather than W₂: between samples of data with
separate modes, W₂ falls as n^(−1/4) and its noise hides what W₁ shows (Bobkov & Ledoux 2019, Memoirs AMS 261, §5).

Sources: Gretton, Borgwardt, Rasch, Schölkopf & Smola (2012), JMLR 13, eq. 3 (MMD², unbiased) and §7 (median width);
Székely & Rizzo (2013), J. Stat. Plan. Inference 143(8), eq. 1.1; Rabin, Peyré, Delon & Bernot (2011), SSVM, and
Bonneel, Rabin, Peyré & Pfister (2015), J. Math. Imaging Vis. 51 (sliced distances).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.evaluation import classifier_test as trees

MAX_ROWS = 2000
"""Rows a side that are used at most: the time grows with their square."""
MIN_ROWS = 10
"""Rows a side below which no p-value means anything."""
RELABELLINGS = 199
"""Random relabellings, and splits of the data, behind a p-value and a null: the smallest p-value is 1/200."""
WIDTHS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Widths of MMD's Gaussians, in median distances between data rows, each twice the last: modes are narrower than 1."""
DIRECTIONS = 100
REFITS = 2
"""Splits of the data behind the classifier's null."""
BLOCK_ROWS = 128
"""Rows of a pairwise matrix that are held at once."""


class Distance(NamedTuple):
    """A distance of the samples from the data.

    Attributes:
        value: 0 for no difference, but for `c2st`: 0.5.
        null: mean of the same distance between two samples of the data of this size.
        p: probability of a value this large or larger if the samples had the distribution of the data.
        n_rows: rows on each side.
    """

    value: float
    null: float
    p: float
    n_rows: int


def compare(x: Tensor, data: Tensor, rng: torch.Generator, max_rows: int = MAX_ROWS) -> dict[str, Distance]:
    """Every distance between samples and data: `mmd`, `energy_distance`, `sliced_wasserstein`, `c2st`.

    Both sides of a comparison have n = min(N, M/2, max_rows) rows, drawn without replacement: the null needs as many
    data rows again. With scarce data n is small, and the p-values have little power. The p-value of the classifier
    needs no null: it has min(N, M) rows a side, at most `classifier_test.MAX_ROWS`.

    Args:
        x: samples [N, *D], independent of each other: correlated samples have a larger noise floor than the null.
        data: held-out rows [M, *D] in the same, standardised units.
        rng: source of every draw.
        max_rows: rows a side at most, but for the classifier.

    Raises:
        ValueError: a row that is not finite, another shape, fewer than MIN_ROWS rows a side, or data in one point.

    Cost: on one core 1 s for 1,000 rows a side in 2 dimensions, 2 s in 64; memory for
    BLOCK_ROWS × 2n and RELABELLINGS × 2n numbers.
    """
    x, data = _finite_rows("x", x), _finite_rows("data", data)
    if x.shape[1] != data.shape[1]:
        raise ValueError(f"x must have the data's {data.shape[1]} coordinates, got {x.shape[1]}")
    n = min(len(x), len(data) // 2, max_rows)
    if n < MIN_ROWS:
        raise ValueError(
            f"{len(x)} sample{'s' * (len(x) != 1)} and {len(data)} held-out row{'s' * (len(data) != 1)} are too few "
            f"to compare: {MIN_ROWS} and {2 * MIN_ROWS} are needed"
        )
    x, data = shuffle_rows(x, rng), shuffle_rows(data, rng)
    twice = data[: 2 * n]
    together = torch.cat((x[:n], twice[:n]))
    labels, directions = draw_labellings(n, rng), _draw_directions(x.shape[1], rng)
    # The width comes from rows that are on neither side: it is the same for every model and every relabelling.
    width = median_distance(twice[n:])

    statistics: dict[str, Callable[[Tensor], Tensor]] = {
        "mmd": lambda z: _positive_root(squared_mmd(z, labels, width)),
        "energy_distance": lambda z: _positive_root(squared_energy_distance(z, labels)),
        "sliced_wasserstein": lambda z: sliced_wasserstein(z, labels, directions),
    }
    found = {name: compare_relabelled(statistic, together, twice) for name, statistic in statistics.items()}
    return found | {"c2st": _compare_by_trees(x, data, rng)}


def _compare_by_trees(x: Tensor, data: Tensor, rng: torch.Generator) -> Distance:
    """Accuracy and p-value of `classifier_test`, and the accuracy between two samples of the data."""
    n = min(len(x), len(data), trees.MAX_ROWS)
    found = trees.classifier_test(x[:n], data[:n])
    of_data = min(n, len(data) // 2)
    null = sum(
        trees.classifier_test(*shuffle_rows(data, rng)[: 2 * of_data].split(of_data)).accuracy for _ in range(REFITS)
    )
    return Distance(found.accuracy, null / REFITS, found.p, n)


def squared_mmd(z: Tensor, labels: Tensor, width: float, block: int = BLOCK_ROWS) -> Tensor:
    """Unbiased MMD² under k(a, b) = mean over WIDTHS of exp(−‖a − b‖² / 2h²), h = WIDTHS · width, for each labelling.

    Source: Gretton et al. (2012), eq. 3.

    Args:
        z: both samples together [2n, D].
        labels: ±1 [2n, B], as many of each in every column: which sample a row belongs to.
        width: > 0, in z's units.
        block: rows of the kernel's matrix that are held at once.

    Shapes: → [B].  Cost: 2n² kernel values and 2n² B products.
    """

    def kernel(distance: Tensor) -> Tensor:
        # From one width to half of it the exponent grows fourfold: two squarings and no further exp.
        power = distance.square_().mul_(-0.5 / (max(WIDTHS) * width) ** 2).exp_()
        total = power.clone()
        for _ in WIDTHS[1:]:
            total += power.square_().square_()
        return total.div_(len(WIDTHS))

    return _two_sample_mean(z, labels, kernel, block)


def squared_energy_distance(z: Tensor, labels: Tensor, block: int = BLOCK_ROWS) -> Tensor:
    """Unbiased estimate of 2 E‖x − y‖ − E‖x − x'‖ − E‖y − y'‖ for each labelling.

    It is MMD² with the kernel −‖a − b‖ (Sejdinovic et al. 2013, Ann. Stat. 41(5)).

    Shapes: z [2n, D], labels [2n, B] of ±1 → [B].  Cost: 2n² distances and 2n² B products.
    """
    return _two_sample_mean(z, labels, torch.neg, block)


def sliced_wasserstein(z: Tensor, labels: Tensor, directions: Tensor) -> Tensor:
    """Mean over directions of ∫ |F(t) − G(t)| dt, the distributions of the two samples projected, for each labelling.

    Shapes: z [2n, D], labels [2n, B] of ±1, directions [P, D] of unit length → [B].  Cost: n P B.
    """
    projected, order = (z @ directions.T).sort(0)
    gaps = projected.diff(dim=0)
    n = len(z) // 2
    total = z.new_zeros(labels.shape[1])
    # Counts are whole numbers of at most n: small integers need a quarter of the memory traffic.
    small, counts = labels.to(torch.int8), torch.int16 if n < 2**15 else torch.int32
    for gap, ranks in zip(gaps.T, order.T, strict=True):
        total += gap @ small.index_select(0, ranks[:-1]).cumsum(0, dtype=counts).abs_().to(z.dtype)
    return total / (n * len(directions))


def median_distance(x: Tensor) -> float:
    """Median of the positive distances between rows of x [N, D]; ValueError where there is none."""
    distance = torch.pdist(x)
    positive = distance[distance > 0]
    if len(positive) == 0:
        raise ValueError("data must have at least two different rows; all rows are the same point")
    return float(positive.median())


def compare_relabelled(statistic: Callable[[Tensor], Tensor], together: Tensor, data: Tensor) -> Distance:
    """Compute a statistic of samples and data, its null between two halves of the data, and its p-value.

    Args:
        statistic: both sides together [2n, D] → [B], its values for the labellings that it was made with.
        together: n samples, then n data rows.
        data: 2n data rows.
    """
    value, *others = statistic(together).tolist()
    p = (1 + sum(other >= value for other in others)) / (1 + len(others))
    return Distance(value, float(statistic(data).mean()), p, len(together) // 2)


def _two_sample_mean(z: Tensor, labels: Tensor, kernel: Callable[[Tensor], Tensor], block: int) -> Tensor:
    """Mean of k within x plus mean of k within y, pairs of distinct rows, minus twice the mean of k between them.

    With labels s = ±1 and K without its diagonal, the sum within is (ΣK + sᵀKs)/2 and that between (ΣK − sᵀKs)/2: one
    matrix product serves all labellings.
    """
    n = len(z) // 2
    total = z.new_zeros(())
    form = z.new_zeros(labels.shape[1])
    for start in range(0, len(z), block):
        rows = slice(start, min(start + block, len(z)))
        # K is symmetric: the part right of the block on the diagonal counts twice, for the part below it too.
        k = kernel(torch.cdist(z[rows], z[start:]))
        k.diagonal().zero_()
        k[:, len(k) :].mul_(2)
        total += k.sum()
        form += (labels[rows] * (k @ labels[start:])).sum(0)
    return (total + form) / (2 * n * (n - 1)) - (total - form) / (2 * n * n)


def draw_labellings(n: int, rng: torch.Generator) -> Tensor:
    """±1 [2n, 1 + RELABELLINGS]: in the first column the first n rows are one sample, in the others n random rows."""
    keys = torch.rand(2 * n, RELABELLINGS, generator=rng, device=rng.device).cpu()
    ranks = torch.cat((torch.arange(2 * n)[:, None], keys.argsort(0)), dim=1)
    return torch.where(ranks < n, 1.0, -1.0).double()


def _draw_directions(dim: int, rng: torch.Generator) -> Tensor:
    """Directions uniform on the unit sphere [DIRECTIONS, dim]; on the line there is only one."""
    count = DIRECTIONS if dim > 1 else 1
    z = torch.randn(count, dim, generator=rng, dtype=torch.float64, device=rng.device).cpu()
    return torch.nn.functional.normalize(z)


def shuffle_rows(x: Tensor, rng: torch.Generator) -> Tensor:
    """The rows of x, on the CPU, in random order."""
    return x[torch.randperm(len(x), generator=rng, device=rng.device).cpu()]


def _positive_root(squared: Tensor) -> Tensor:
    return squared.clamp(min=0).sqrt()


def _finite_rows(name: str, x: Tensor) -> Tensor:
    """Flat rows in float64 on the CPU; ValueError for a row that is not finite."""
    flat = x.detach().flatten(1).to("cpu", torch.float64)
    bad = int((~flat.isfinite().all(1)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} of {len(flat)} rows that are not")
    return flat
