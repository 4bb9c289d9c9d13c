"""Annealed starts of the chains of `ebm sample`: where the evaluation of the run starts its own.

Chains that start at noise end in the nearest mode, in proportions that have nothing to do with the model. Points that
annealing carried from the Gaussian of the run's data to the model, resampled by their weights, put each mode's own mass
into it (`evaluation.annealing`). Annealing needs the run's data; where there are none, chains start at noise, and a
note says so. An energy that bends a reference density needs neither: draws of the reference are resampled by their
weights.
"""

import math
from typing import NamedTuple

from torch import Tensor

from ebm_cli.densities import Gaussian
from ebm_cli.errors import UserError
from ebm_cli.evaluation.annealing import anneal, resample
from ebm_cli.evaluation.annealing_schedule import N_TEMPERATURES
from ebm_cli.evaluation.context import N_START
from ebm_cli.evaluation.importance_sampling import BATCH, Draws, draws_of, importance
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.rng import generator
from ebm_cli.runs.model import Model

FEWEST = 100
"""Chains that are annealed at least: fewer are a poor choice to resample from."""
NOISE_WEIGHTS = "weights of separated modes are those of the noise, not of the model"


class Starts(NamedTuple):
    """First points of chains.

    Attributes:
        x: [n_chains, *shape], standardised units.
        init: annealed or noise.
        notes: why they are at noise, or how far the annealed ones are reliable.
    """

    x: Tensor
    init: str
    notes: tuple[str, ...] = ()


def at_noise(noise: Tensor, reason: str) -> Starts:
    """The noise [n_chains, *shape] in place of annealed points, with a note that begins with the reason."""
    return Starts(noise, "noise", (f"Chains start at noise, since {reason}: {NOISE_WEIGHTS}.",))


def annealed_starts(model: Model, noise: Tensor, seed: int) -> Starts:
    """Anneal from the Gaussian fitted to the run's data to the model, and resample one point a chain by the weights.

    Draws of the energy's reference take the place of annealed points, where there is one that is close enough.

    Args:
        model: of one run.
        noise: the starts if annealing is not possible [n_chains, *shape].
        seed: of the annealing.

    Cost: that of the evaluation's annealing, with max(n_chains, 100) chains.
    """
    like = model.standardizer.like
    drawn = _reference_starts(model, len(noise), seed)
    if drawn is not None:
        return Starts(drawn, "annealed")
    try:
        dataset = model.dataset.to(like.device, like.dtype)
    except UserError as reason:
        return at_noise(noise, f"the data of the run are not available ({reason})")
    dataset.standardizer.load_state_dict(model.standardizer.state_dict())
    # As in an evaluation, where the chains only have to start in the right modes, or log Z is computed from them too.
    is_short = math.prod(dataset.shape) <= 2 or model.energy.log_z() is not None
    n_temperatures, n = N_START if is_short else N_TEMPERATURES, len(noise)
    base, rng = Gaussian(dataset.reference), generator(seed, "evaluation/annealing", like.device)
    try:
        annealed = anneal(model.energy, base, n_chains=max(n, FEWEST), n_temperatures=n_temperatures, rng=rng)
    except NotIntegrable as reason:
        return at_noise(noise, f"annealing failed ({reason})")
    notes = () if annealed.warning is None else (f"Annealed starts: {annealed.warning}.",)
    return Starts(resample(annealed, n, generator(seed, "evaluation/starts", like.device)), "annealed", notes)


def _reference_starts(model: Model, n: int, seed: int) -> Tensor | None:
    """n draws of the energy's reference by their weights; None without a reference, or with weights in doubt."""
    reference, device = model.energy.reference, model.standardizer.like.device
    if reference is None:
        return None

    def batch(i: int) -> Draws:
        return draws_of(reference, BATCH, generator(seed, f"evaluation/importance/{i}", device))

    found = importance(model.energy, batch, (), target=math.inf, n_batches=1)
    return None if found.doubt else found.resample(n, generator(seed, "evaluation/starts", device))
