"""Memorisation: the distance of samples from their nearest training rows.

    ratio = median over samples of min_i ‖x − t_i‖ / median over held-out rows of the same      t_i: the training rows

in the run's units. Fresh data are as far from the training rows as held-out rows are: the ratio is 1. It is far below 1
for a model that memorised its training rows, and far above 1 for noise. No distance to the data shows memorisation,
since copies of enough rows look like the data.

Each training row is taken once, with the noise that it has in training (dequantisation, `noise_std`): held-out rows
have noise of the same distribution, and so have samples of an exact model. Samples that copy rows have noise of their
own, so that their distance is that of two noises and not 0; on digits the ratio is then 0.2. Noise that is larger than
the distances between rows hides copies, here as in the data.
"""

import math
import sys
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.datasets.base import Dataset

QUERIES = 500
"""Samples, and held-out rows, at most."""
MIN_QUERIES = 10
"""Rows below which a median says nothing."""
RESAMPLES = 200
"""Bootstrap samples behind the standard error."""


class ChunkSize(NamedTuple):
    """Training rows that are held at once, at most, and numbers in them."""

    rows: int
    numbers: int


CHUNK = ChunkSize(rows=2**14, numbers=2**22)
"""16 MB of rows and 65 MB of distances, in float32."""


class Copying(NamedTuple):
    """The ratio of the median distances to the nearest training row, and its standard error."""

    value: float
    error: float


def copying(
    samples: Tensor, held_out: Tensor, dataset: Dataset, rng: torch.Generator, chunk: ChunkSize = CHUNK
) -> Copying:
    """Distance of samples to their nearest training rows, relative to that of held-out rows.

    The standard error is that of a bootstrap of both medians over their rows.

    Args:
        samples: [N, *shape] in the run's units, finite, independent of each other.
        held_out: rows [M, *shape] in the same units. As many of both are used: min(N, M, QUERIES).
        dataset: with finitely many training rows.
        rng: source of every draw, on the data's device.
        chunk: training rows that are held at once.

    Raises:
        ValueError: an endless stream of training rows, fewer than MIN_QUERIES of both, or held-out rows half of which
            are training rows.

    Cost: distances from 2 min(N, M, QUERIES) rows to all training rows; 4 s for 700,000 rows of 10 columns.
    """
    n = min(len(samples), len(held_out), QUERIES)
    if n < MIN_QUERIES:
        raise ValueError(f"too few rows a side for a median distance: {n}, and {MIN_QUERIES} are needed")
    queries = torch.cat((samples.detach()[:n], held_out[:n].to(samples))).flatten(1)
    centre = queries[n:].mean(0)
    queries = queries - centre
    distance = torch.full((2 * n,), torch.inf, dtype=queries.dtype, device=queries.device)
    for rows in epoch(dataset, rng, chunk):
        t = rows.flatten(1) - centre
        # ‖q − t‖² − ‖q‖² finds the row by one product; its distance is that of the difference, without cancellation.
        closest = torch.addmm(t.square().sum(1), queries, t.T, alpha=-2).argmin(1)
        distance = torch.minimum(distance, (queries - t[closest]).norm(dim=1))
    of_samples, of_data = distance.double().cpu().split(n)
    if float(of_data.median()) == 0:
        raise ValueError(
            "at least half of the held-out rows are training rows too, so that memorisation cannot be measured"
        )
    draws = torch.randint(n, (2, RESAMPLES, n), generator=rng, device=rng.device).cpu()
    ratios = of_samples[draws[0]].median(1).values / of_data[draws[1]].median(1).values
    return Copying(float(of_samples.median() / of_data.median()), float(ratios.std()))


def nearest(x: Tensor, rows: Tensor) -> Tensor:
    """The row nearest to each point, by Euclidean distance: x [N, *shape], rows [M, *shape] → [N, *shape]."""
    return rows[torch.cdist(x.flatten(1), rows.flatten(1)).argmin(1)]


def epoch(dataset: Dataset, rng: torch.Generator, chunk: ChunkSize = CHUNK) -> Iterator[Tensor]:
    """Every training row once, in chunks [B, *shape], in the run's units, as training gets them.

    Chunks are equally large, so that a remainder of fewer rows than there are chunks is left out.

    Raises:
        ValueError: an endless stream of training rows.
    """
    # A stream of finitely many rows reduces its batch size to their number; nothing is drawn before the first batch.
    n_rows = dataset.batches(sys.maxsize, rng).batch_size
    if n_rows == sys.maxsize:
        raise ValueError("training rows are never repeated, so that a model cannot memorise them")
    n_numbers = n_rows * dataset.standardizer.like.numel()
    n_chunks = max(math.ceil(n_numbers / chunk.numbers), math.ceil(n_rows / chunk.rows))
    batches = dataset.batches(max(1, n_rows // n_chunks), rng)
    for _ in range(n_rows // batches.batch_size):
        yield batches.next()
