"""The metric group `samples`: distances between the model's samples and held-out rows, each with its null."""

import torch

from ebm_cli.datasets import Target
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.divergences import counted_mode_tv
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.two_sample import compare
from ebm_cli.evaluation.values import Value

DIVERGED = "some chains diverged (non-finite values)"


def results(context: Context) -> Results:
    """Distances of positions of the chains from held-out rows, and mode masses by counting."""
    return Results(notes=context.drawn.results.notes) | _distances(context) | _mode_weights(context)


def _distances(context: Context) -> Results:
    """Every distance of `two_sample`; of positions that are independent, as a rule one a chain."""
    model = context.drawn.independent
    if not bool(torch.isfinite(model).all()):
        return Results(absent={"eval/mmd": DIVERGED})
    try:
        found = compare(model.flatten(1), context.rows.flatten(1), context.rng("two_sample"))
    except ValueError as reason:
        return Results(absent={"eval/mmd": str(reason)})
    values: dict[str, Value] = {}
    for name, distance in found.items():
        values |= {f"eval/{name}": distance.value, f"eval/{name}_null": distance.null, f"eval/{name}_p": distance.p}
    return Results(values)


def _mode_weights(context: Context) -> Results:
    """Mode masses by counting, where the divergences have none by a sum over cells."""
    density = context.dataset.density
    by_cells = context.is_asked("density") and "eval/mode_tv" in context.divergence_result.results.values
    if by_cells or not isinstance(density, Target) or density.n_modes < 2:
        return Results()
    to_data_units = context.dataset.standardizer.to_data_units
    return Results(counted_mode_tv(density, to_data_units(context.drawn.independent), to_data_units(context.rows)))
