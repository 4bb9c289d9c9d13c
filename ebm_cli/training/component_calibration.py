"""The weights of a table's components after score matching, by maximum likelihood on its training rows.

Score matching hardly knows how much mass lies in parts of a density that are apart, and a network that it trains moves
the weights of the reference, which were right. They are fitted to the rows once more at the end of a run, and kept
unless the validation rows refuse them (`refusal`). See `energies.component_scales`.
"""

import torch
from torch import Tensor

from ebm_cli.datasets import Dataset
from ebm_cli.energies import Energy, Tilted
from ebm_cli.energies.component_scales import fit_scales
from ebm_cli.evaluation.batched import in_chunks
from ebm_cli.evaluation.importance_sampling import Draws, log_weights
from ebm_cli.evaluation.importance_weights import effective_size
from ebm_cli.methods import Method
from ebm_cli.rng import generator
from ebm_cli.training.refusal import refuse
from ebm_cli.training.tail_calibration import FEWEST_EFFECTIVE, wants_calibration

N_DRAWS = 100_000
"""Draws of the reference: the model's weights get a standard error of 0.0016 or less from as many effective ones."""
FEWEST_ROWS = 1000
"""Training rows below which validation rows, a seventh of them, could not tell better weights from worse ones."""


def calibrate_components(energy: Energy, method: Method, dataset: Dataset, seed: int) -> Tensor | None:
    """Fit the weights of the components that an energy bends, if its method matched scores and it wants it.

    Args:
        energy: with the weights that the run keeps; its scales are replaced.
        method: of the run.
        dataset: of the run.
        seed: of the run.

    Returns:
        The scales of the energy now [K]; None for none.

    Cost: an energy for 100,000 draws of the reference.
    """
    if method.score_scale is None or not wants_calibration(energy, dataset):
        return None
    energy.scales.clear()
    n_components = len(energy.density.mixture.weights)
    if n_components == 1 or energy.density.flow is not None or len(dataset.reference) < FEWEST_ROWS:
        return None
    with torch.no_grad():
        scales = _fitted(energy, dataset, generator(seed, "components", dataset.reference.device))
    if scales is not None:
        energy.scales.take(scales)
    return scales


def _fitted(energy: Tilted, dataset: Dataset, rng: torch.Generator) -> Tensor | None:
    """The scales; None where the model's own weights are not known, or the validation rows refuse them."""

    def shares(x: Tensor) -> Tensor:
        return in_chunks(lambda part: energy.density.locate(part.flatten(1)).share, x).double()

    draws = energy.density.sample(N_DRAWS, rng)
    log_w = log_weights(energy, Draws(draws, in_chunks(energy.density.log_prob, draws)))
    if not bool((log_w < torch.inf).all()) or effective_size(log_w) < FEWEST_EFFECTIVE:
        return None
    of_draws = shares(draws)
    means = log_w.softmax(0).to(of_draws) @ of_draws
    if not bool((means > 0).all()):
        return None
    scales = fit_scales(shares(dataset.reference), means)
    unseen = shares(dataset.standardised_rows("validation", len(dataset.reference)))
    gains = (unseen @ scales).log() - (means @ scales).log()
    return None if refuse(gains) else scales
