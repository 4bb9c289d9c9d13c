"""Annealed starts of the chains of `ebm sample`: where the evaluation of the run starts its own.

Chains that start at noise end in the nearest mode, in proportions that have nothing to do with the model. Points that
annealing carried from the Gaussian of the run's data to the model, resampled by their weights, put each mode's own mass
into it (`evaluation.annealing`). Annealing needs the run's data; where there are none, chains start at noise, and a
note says so.
"""

from typing import NamedTuple

from torch import Tensor

from ebm_cli.errors import UserError
from ebm_cli.evaluation.annealing import N_CHAINS, resample
from ebm_cli.evaluation.annealing_schedule import N_TEMPERATURES
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.runs.model import Model
from ebm_cli.samplers import Kernel

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


def annealed_starts(model: Model, kernel: Kernel, noise: Tensor, seed: int) -> Starts:
    """Anneal from the run's data to the model, and resample one point a chain by the weights.

    Args:
        model: of one run.
        kernel: of the chains that start there; annealing has its own.
        noise: the starts if annealing is not possible [n_chains, *shape].
        seed: of the annealing.

    Cost: that of the evaluation's annealing, with max(n_chains, 100) chains.
    """
    try:
        parts = model.parts()
    except UserError as reason:
        return at_noise(noise, f"the data of the run are not available ({reason})")
    n, keys = len(noise), model.config.get("eval") or {}
    protocol = Protocol(
        metrics=(),
        kernel=kernel,
        n_samples=N_CHAINS,
        n_chains=max(n, FEWEST),
        burn_in=0,
        n_temperatures=keys.get("n_temperatures", N_TEMPERATURES),
        base=keys.get("base", "gaussian"),
        init="annealed",
        batch_size=1,
        seed=seed,
    )
    context = Context(parts.energy, parts.method, parts.dataset, protocol)
    try:
        annealed = context.annealed
    except NotIntegrable as reason:
        return at_noise(noise, f"annealing failed ({reason})")
    notes = () if annealed.warning is None else (f"Annealed starts: {annealed.warning}.",)
    return Starts(resample(annealed, n, context.rng("starts")), "annealed", notes)
