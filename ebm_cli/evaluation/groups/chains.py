"""The metric group `chains`: diagnostics of the sampling chains, and the temperature of the method's own chains."""

import torch
from torch import Tensor

from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.stein import temperature

N_SHORT = 2000
"""Ends of the method's own chains that their temperature is measured on, at least."""


def results(context: Context) -> Results:
    """R̂, ESS and acceptance rate of the chains that drew the samples; the temperature of the method's chains."""
    return context.drawn.results | _temperature(context)


def _temperature(context: Context) -> Results:
    """Temperature of the points that stand for the model in a training step; no results where no chain is run."""
    ends = _negatives(context)
    if ends is None:
        return Results()
    found = temperature(context.energy, ends)
    if found is None:
        reason = "the energy has no positive mean curvature at the chains' ends"
        return Results(absent={"eval/chain_temperature": reason})
    return Results({"eval/chain_temperature": found.value, "eval/chain_temperature_se": found.error})


def _negatives(context: Context) -> Tensor | None:
    """The method's negative samples for held-out rows, in batches of the run's own size, N_SHORT or more in all."""
    rows, rng, ends = context.rows, context.rng("temperature"), []
    size = min(context.protocol.batch_size, len(rows))
    for start in range(0, max(N_SHORT, size), size):
        batch = rows[torch.arange(start, start + size, device=rows.device) % len(rows)]
        end = context.method.negatives(context.energy, batch, rng)
        if end is None:
            return None
        ends.append(end)
    return torch.cat(ends)
