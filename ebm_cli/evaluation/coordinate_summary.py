"""A summary of draws by coordinate: moments, quantiles, and how well the chains know them."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ebm_cli.evaluation.chain_summary import never_moved
from ebm_cli.evaluation.mcmc_diagnostics import diagnose, quantile
from ebm_cli.evaluation.monte_carlo_error import mcse_mean

QUANTILES = {"q5": 0.05, "q50": 0.5, "q95": 0.95}
"""Columns of the summary → their probabilities."""


def summarise_coordinates(draws: Tensor, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Summarise each coordinate of the draws: one row a coordinate, in the draws' units.

    Args:
        draws: [n_draws, n_chains, *D].
        names: of the coordinates, D of them; None is x0, x1, …, with an index a dimension for others than vectors.

    Returns:
        Rows with `name`, `mean`, `sd`, `q5`, `q50`, `q95`, `mcse_mean`, `rhat`, `ess_bulk`, `ess_tail`; None for a
        number that does not exist. Chains whose draws are all one point are left out.
    """
    differ = ~never_moved(draws)
    moving = draws[:, differ] if bool(differ.any()) and not bool(differ.all()) else draws
    found = diagnose(moving).bounded()
    columns = _moments(moving) | {"mcse_mean": mcse_mean(moving), "rhat": found.rhat}
    columns |= {"ess_bulk": found.ess_bulk, "ess_tail": found.ess_tail}
    lists = {name: values.flatten().tolist() for name, values in columns.items()}
    labels = coordinate_names(draws.shape[2:]) if names is None else list(names)
    return [
        {"name": label} | {name: _number(values[i]) for name, values in lists.items()} for i, label in enumerate(labels)
    ]


def coordinate_names(shape: Sequence[int]) -> list[str]:
    """Names of the coordinates of points of a shape: x0, x1, … of vectors, x[0,3,5] of others."""
    if len(shape) <= 1:
        return [f"x{i}" for i in range(shape[0] if shape else 1)]
    return [f"x[{','.join(map(str, index))}]" for index in torch.cartesian_prod(*map(torch.arange, shape)).tolist()]


def _moments(draws: Tensor) -> dict[str, Tensor]:
    """Mean, standard deviation and quantiles of each coordinate [D]; of draws that are all finite."""
    flat = draws.flatten(0, 1).flatten(1).double() if draws.ndim > 2 else draws.flatten()[:, None].double()
    values = {"mean": flat.mean(0), "sd": flat.std(0)}
    ordered = flat.T.sort(1).values
    return values | {name: quantile(ordered, probability) for name, probability in QUANTILES.items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
