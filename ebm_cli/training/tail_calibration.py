"""The tails of a trained table, by maximum likelihood on its training rows: the last step of a run.

A network sees a few dozen rows in each tail of a column, and its error there is as large as anywhere. The heights of
`ColumnTails` are fitted to draws of the reference that the energy bends, weighted to be draws of the model. They are
kept unless the validation rows refuse them (`refusal`).
"""

from typing import TypeGuard

import torch
from torch import Tensor

from ebm_cli.datasets import Dataset
from ebm_cli.densities import Density
from ebm_cli.energies import Energy, Tilted
from ebm_cli.energies.column_tails import Tails
from ebm_cli.energies.tail_fit import SHARES, fit_heights, steps_of
from ebm_cli.evaluation.batched import in_chunks
from ebm_cli.evaluation.importance_sampling import Draws, log_weights
from ebm_cli.evaluation.importance_weights import effective_size
from ebm_cli.evaluation.tail_draws import N_PER_COLUMN, Thinned, thinned
from ebm_cli.rng import generator
from ebm_cli.training.refusal import refuse

MOST_STEPS = 30_000_000
"""Steps at draws beyond the outermost thresholds, all together: 120 MB."""
FEWEST_EFFECTIVE = 1000
"""Effective number of draws below which the model is too far from its reference for anything to be known from them."""


def wants_calibration(energy: Energy, dataset: Dataset) -> TypeGuard[Tilted]:
    """True for an energy that bends a reference to a table, and is to be corrected when it has been trained."""
    return isinstance(energy, Tilted) and energy.calibrate and energy.reference is not None and dataset.is_table


def calibrate_tails(energy: Energy, dataset: Dataset, seed: int) -> Tails | None:
    """Fit the tails of an energy that bends a reference to a table's training rows, if it wants it.

    Args:
        energy: with the weights that the run keeps; its tails are replaced.
        dataset: of the run.
        seed: of the run.

    Returns:
        The tails of the energy now; None for none.

    Cost: 200,000 draws of the reference a column, and an energy for 100,000 of them and for those in the tails.
    """
    if not wants_calibration(energy, dataset):
        return None
    assert energy.reference is not None
    energy.tails.clear()
    rows = dataset.reference
    steps = steps_of(rows)
    if steps.heights.numel() == 0:
        return None
    energy.tails.take(steps)
    with torch.no_grad():
        tails = _fitted(energy.reference, energy, dataset, steps, generator(seed, "calibration", rows.device))
    if tails is None:
        energy.tails.clear()
    else:
        energy.tails.take(tails)
    return tails


def _fitted(reference: Density, energy: Tilted, dataset: Dataset, steps: Tails, rng: torch.Generator) -> Tails | None:
    """The steps with their heights; None where they are not known, or the validation rows refuse them.

    Args:
        reference: that the energy bends.
        energy: with these steps, all of height 0.
        dataset: of the run.
        steps: of both sides of each column.
        rng: of the draws.
    """

    def phi(x: Tensor) -> Tensor:
        return energy.tails.steps(x).flatten(1).cpu()

    rows = dataset.reference
    draws = _draws(reference, steps, rows, rng)
    log_w = draws.weighed(log_weights(energy, Draws(draws.x, in_chunks(reference.log_prob, draws.x))))
    if not bool((log_w < torch.inf).all()) or effective_size(log_w) < FEWEST_EFFECTIVE:
        return None
    of_draws = torch.cat([phi(part) for part in draws.x.split(10_000)])
    heights = fit_heights(phi(rows).double().mean(0), len(rows), of_draws, log_w)
    unseen = phi(dataset.standardised_rows("validation", len(rows))).double() @ heights
    rise = (log_w - in_chunks(lambda part: part.double() @ heights, of_draws)).logsumexp(0) - log_w.logsumexp(0)
    if refuse(-unseen - rise):
        return None
    return steps._replace(heights=heights.view_as(steps.heights))


def _draws(reference: Density, steps: Tails, rows: Tensor, rng: torch.Generator) -> Thinned:
    """Draws of the reference: all beyond the outermost thresholds, few of the others."""
    is_upper, (size, n_steps) = steps.widths > 0, steps.heights.shape
    low = torch.where(is_upper, -torch.inf, steps.thresholds).amax(1).to(rows)
    high = torch.where(is_upper, steps.thresholds, torch.inf).amin(1).to(rows)
    share = min(1.0, 2 * size * max(SHARES))
    n = min(N_PER_COLUMN * size, int(MOST_STEPS / (size * n_steps * share)))
    return thinned(lambda size: reference.sample(size, rng), n, low, high)
