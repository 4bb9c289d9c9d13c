"""Are samples copies of training rows?

    ratio = median over samples of min_i ‖x − t_i‖ / median over held-out rows of the same      t_i: the training rows

in the run's units. Fresh data are as far from the training rows as held-out rows are: 1. A model that has learned its
training rows by heart draws points around them: far below 1. Noise is far above. A low ratio with good distances
elsewhere is what no distance to the data shows, since copies of enough rows look like the data.

The training rows are taken once, as training is served them, with the noise that a row gets there (dequantisation,
`noise_std`): held-out rows have noise of the same law, and so have the samples of a right model. Samples that copy rows
have their own noise, so that their distance is that of two noises and not 0; on digits the ratio is then 0.2. Noise
that is larger than what lies between the rows hides copies, here as in the data.
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
CHUNK_NUMBERS = 2**22
CHUNK_ROWS = 2**14
"""Numbers in the training rows that are held at once, and rows: 16 MB, and 65 MB of distances, in float32."""
RESAMPLES = 200


class Copying(NamedTuple):
    """Ratio of the median distances to the nearest training row, and its standard error."""

    value: float
    error: float


def copying(samples: Tensor, held_out: Tensor, dataset: Dataset, rng: torch.Generator) -> Copying:
    """Distance of samples to their nearest training rows, relative to that of held-out rows.

    The error is that of a bootstrap of both medians over their rows.

    Args:
        samples: [N, *shape] in the run's units, finite, independent of each other.
        held_out: rows [M, *shape] in the same units. As many of both are used: min(N, M, QUERIES).
        dataset: whose training rows are finitely many.
        rng: source of every draw, on the data's device.

    Raises:
        ValueError: training rows without end, or held-out rows half of which are training rows.

    Cost: distances from 2 min(N, M, QUERIES) rows to all training rows; 4 s for 700,000 rows of 10 columns.
    """
    n = min(len(samples), len(held_out), QUERIES)
    queries = torch.cat((samples.detach()[:n], held_out[:n].to(samples))).flatten(1)
    centre = queries[n:].mean(0)
    queries = queries - centre
    nearest = torch.full((2 * n,), torch.inf, dtype=queries.dtype, device=queries.device)
    for rows in epoch(dataset, rng):
        t = rows.flatten(1) - centre
        # ‖q − t‖² − ‖q‖² finds the row in one product; its distance is then taken from the difference, which is exact.
        closest = torch.addmm(t.square().sum(1), queries, t.T, alpha=-2).argmin(1)
        nearest = torch.minimum(nearest, (queries - t[closest]).norm(dim=1))
    of_samples, of_data = nearest.double().cpu().split(n)
    if float(of_data.median()) == 0:
        raise ValueError("half of the held-out rows are training rows")
    draws = torch.randint(n, (2, RESAMPLES, n), generator=rng, device=rng.device).cpu()
    ratios = of_samples[draws[0]].median(1).values / of_data[draws[1]].median(1).values
    return Copying(float(of_samples.median() / of_data.median()), float(ratios.std()))


def nearest(x: Tensor, rows: Tensor) -> Tensor:
    """The nearest row to each point, by Euclidean distance: x [N, *shape], rows [M, *shape] → [N, *shape]."""
    return rows[torch.cdist(x.flatten(1), rows.flatten(1)).argmin(1)]


def epoch(dataset: Dataset, rng: torch.Generator) -> Iterator[Tensor]:
    """Every training row once, but for fewer than there are chunks [B, *shape]; run's units, as training gets them.

    Raises:
        ValueError: training rows without end.
    """
    # A stream of finitely many rows cuts its batches to their number; nothing is drawn before the first batch.
    n_rows = dataset.batches(sys.maxsize, rng).batch_size
    if n_rows == sys.maxsize:
        raise ValueError("training rows are never repeated: there is nothing to copy")
    n_numbers = n_rows * dataset.standardizer.like.numel()
    n_chunks = max(math.ceil(n_numbers / CHUNK_NUMBERS), math.ceil(n_rows / CHUNK_ROWS))
    # Batches are whole: fewer rows than there are chunks are left over.
    batches = dataset.batches(max(1, n_rows // n_chunks), rng)
    for _ in range(n_rows // batches.batch_size):
        yield batches.next()
