"""The metric group of probability masses, where the density of the data is known: modes, tails, and beyond the data.

    metrics=[density,{_target_: ebm_cli.evaluation.masses.Masses}]

The truth is a sample of 500,000 rows. The masses of a model are weighted means over 200,000 draws of the density that
its energy bends, with weights exp(−f)/q, and means over samples by chains where it bends none or is far from it.
"""

from typing import NamedTuple, final

import torch
from torch import Tensor

from ebm_cli.datasets import Target
from ebm_cli.densities import Density
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.importance_sampling import SHARE, draws_of, log_weights
from ebm_cli.evaluation.importance_weights import effective_size
from ebm_cli.evaluation.metric_group import MetricGroup
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import Value

N_TRUTH, N_DRAWS = 500_000, 200_000
TAIL = 0.001
"""Mass of the data beyond the quantile of either side."""
LEAST = 1e-6
"""Mass that a tail without any draw counts as, so that its ratio is a number."""


class Weighted(NamedTuple):
    """Points x [N, D] in data units, float64, and their weights [N], sum 1."""

    x: Tensor
    weights: Tensor


@final
class Masses(MetricGroup):
    """Probability masses of the model beside the true ones.

    eval/mode_error     the largest |mass of a mode − its true mass|, where the density has modes
    eval/tail_ratio     max(model/truth, truth/model) of the mass beyond the true 0.1 % and 99.9 % quantile of a
                        column, for the worst column and side
    eval/outside        mass outside the box of the training rows (the smallest and largest value of each column)
    eval/outside_data   the true one
    """

    def results(self, context: Context) -> Results:
        density = context.dataset.density
        if density is None or len(context.dataset.shape) > 1:
            return Results(absent={"eval/tail_ratio": "the density of the data is unknown"})
        try:
            model = _model(context)
        except NotIntegrable as reason:
            return Results(absent={"eval/tail_ratio": str(reason)})
        truth = _truth(density, context.rng("truth"))
        rows = context.dataset.standardizer.to_data_units(context.dataset.reference).double().cpu()
        values: dict[str, Value] = {
            "eval/tail_ratio": tail_ratio(model, truth),
            "eval/outside": outside(model, rows),
            "eval/outside_data": outside(truth, rows),
        }
        if isinstance(density, Target) and density.n_modes > 1:
            of_model, of_data = (_mode_masses(density, points) for points in (model, truth))
            values["eval/mode_error"] = float((of_model - of_data).abs().max())
        return Results(values)


def tail_ratio(model: Weighted, truth: Weighted) -> float:
    """The factor by which the mass of the worst tail is wrong, ≥ 1: of any column, on either side."""
    sides = torch.tensor([TAIL, 1.0 - TAIL], dtype=torch.float64)
    low, high = torch.quantile(truth.x[: 10_000_000 // truth.x.shape[1]], sides, dim=0)
    found = [
        torch.cat([points.weights @ (points.x < low).double(), points.weights @ (points.x > high).double()])
        for points in (model, truth)
    ]
    ratio = found[0].clamp(min=LEAST) / found[1].clamp(min=LEAST)
    return float(torch.maximum(ratio, 1.0 / ratio).max())


def outside(points: Weighted, rows: Tensor) -> float:
    """Mass of the points outside the box of rows [N, D]."""
    is_out = ((points.x < rows.amin(0)) | (points.x > rows.amax(0))).any(1)
    return float(points.weights[is_out].sum())


def _truth(density: Density, rng: torch.Generator) -> Weighted:
    blocks = [density.sample(N_TRUTH // 10, rng).double().cpu() for _ in range(10)]
    return _equal(torch.cat(blocks))


def _equal(x: Tensor) -> Weighted:
    return Weighted(x, torch.full((len(x),), 1.0 / len(x), dtype=torch.float64))


def _model(context: Context) -> Weighted:
    """The model as weighted points.

    Raises:
        NotIntegrable: the draws have no weight, or the chains diverged.
    """
    standardizer = context.dataset.standardizer

    def in_data_units(u: Tensor) -> Tensor:
        return standardizer.to_data_units(u.to(standardizer.like)).double().cpu()

    if context.energy.reference is not None:
        draws = draws_of(context.energy.reference, N_DRAWS, context.rng("masses"))
        log_w = log_weights(context.energy, draws)
        if effective_size(log_w) >= SHARE * N_DRAWS:
            return Weighted(in_data_units(draws.x), log_w.softmax(0))
    x = in_data_units(context.drawn.draws.flatten(0, 1))
    if not bool(x.isfinite().all()):
        raise NotIntegrable("some chains diverged (non-finite values)")
    return _equal(x)


def _mode_masses(density: Target, points: Weighted) -> Tensor:
    """Mass of each mode [n_modes]."""
    like = density.origin
    with torch.no_grad():
        labels = torch.cat([density.modes(x.to(like)).cpu() for x in points.x.split(50_000)])
    return torch.zeros(density.n_modes, dtype=torch.float64).index_add_(0, labels.long(), points.weights)
