"""The metric group of probability masses, where the density of the data is known: modes, tails, and beyond the data.

    metrics=[density,{_target_: ebm_cli.evaluation.masses.Masses}]

The truth is a sample of 500,000 rows. The masses of a model are weighted means over n draws of the density q that its
energy bends, 200,000 a column, and these m rows of the truth p, thinned between the tails (`tail_draws`), with weights

    w(x) ∝ exp(−f(x)) / (n q(x) + m p(x)),

the balance heuristic of Veach & Guibas (1995, SIGGRAPH, section 4). Draws of q alone do not measure tails: in many
columns a handful of them carries all the weight that lies beyond a quantile where q is too light, and the exact density
of `factors` was measured as wrong by a factor of 27. The masses are means over samples by chains where an energy bends
nothing or is far from both.
"""

import math
from typing import NamedTuple, final

import torch
from torch import Tensor

from ebm_cli.datasets import Target
from ebm_cli.densities import Density
from ebm_cli.evaluation.batched import in_chunks
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.importance_sampling import SHARE, Draws, log_weights
from ebm_cli.evaluation.importance_weights import effective_size
from ebm_cli.evaluation.metric_group import MetricGroup
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.tail_draws import BLOCK, N_PER_COLUMN, Thinned, thinned
from ebm_cli.evaluation.values import Value

N_TRUTH = 500_000
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
        truth = _truth(density, context.rng("truth"))
        try:
            model = _model(context, density, truth)
        except NotIntegrable as reason:
            return Results(absent={"eval/tail_ratio": str(reason)})
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
    low, high = _tails(truth.x)
    found = [
        torch.cat([points.weights @ (points.x < low).double(), points.weights @ (points.x > high).double()])
        for points in (model, truth)
    ]
    ratio = found[0].clamp(min=LEAST) / found[1].clamp(min=LEAST)
    return float(torch.maximum(ratio, 1.0 / ratio).max())


def _tails(x: Tensor) -> tuple[Tensor, Tensor]:
    """The 0.1 % and 99.9 % quantiles [D] of points."""
    low, high = torch.quantile(x[: 10_000_000 // x.shape[1]], x.new_tensor([TAIL, 1.0 - TAIL]), dim=0)
    return low, high


def outside(points: Weighted, rows: Tensor) -> float:
    """Mass of the points outside the box of rows [N, D]."""
    is_out = ((points.x < rows.amin(0)) | (points.x > rows.amax(0))).any(1)
    return float(points.weights[is_out].sum())


def _truth(density: Density, rng: torch.Generator) -> Weighted:
    blocks = [density.sample(N_TRUTH // 10, rng).double().cpu() for _ in range(10)]
    return _equal(torch.cat(blocks))


def _equal(x: Tensor) -> Weighted:
    return Weighted(x, torch.full((len(x),), 1.0 / len(x), dtype=torch.float64))


def _model(context: Context, density: Density, truth: Weighted) -> Weighted:
    """The model as weighted points, some of which are rows of the truth.

    Raises:
        NotIntegrable: the draws have no weight, or the chains diverged.
    """
    standardizer = context.dataset.standardizer

    def in_data_units(u: Tensor) -> Tensor:
        return standardizer.to_data_units(u.to(standardizer.like)).double().cpu()

    if context.energy.reference is not None:
        log_w, x = _weighted(context, context.energy.reference, density, truth.x)
        if effective_size(log_w) >= SHARE * len(x):
            return Weighted(in_data_units(x), log_w.softmax(0))
    x = in_data_units(context.drawn.draws.flatten(0, 1))
    if not bool(x.isfinite().all()):
        raise NotIntegrable("some chains diverged (non-finite values)")
    return _equal(x)


@torch.no_grad()
def _weighted(context: Context, reference: Density, density: Density, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of the weights [N] of draws of the reference and rows of the truth, and these points [N, D].

    Args:
        context: of the evaluation.
        reference, density: q, in standardised units, and p, in data units.
        rows: of the truth, data units.
    """
    standardizer, rng = context.dataset.standardizer, context.rng("masses")
    u = standardizer.standardise(rows)
    low, high = _tails(u)
    blocks = iter(u.split(BLOCK))
    n, m = N_PER_COLUMN * u.shape[1], len(u)
    draws = thinned(lambda size: reference.sample(size, rng), n, low, high)
    true = thinned(lambda _: next(blocks), m, low, high)
    both = Thinned(torch.cat((draws.x, true.x)), torch.cat((draws.log_count, true.log_count)))
    x = both.x
    log_q = in_chunks(reference.log_prob, x)
    log_p = in_chunks(lambda part: density.log_prob(standardizer.to_data_units(part)), x) + standardizer.log_det
    log_made = torch.logaddexp(log_q + math.log(n), log_p + math.log(m))
    return both.weighed(log_weights(context.energy, Draws(x, log_made))), x


def _mode_masses(density: Target, points: Weighted) -> Tensor:
    """Mass of each mode [n_modes]."""
    like = density.origin
    with torch.no_grad():
        labels = torch.cat([density.modes(x.to(like)).cpu() for x in points.x.split(50_000)])
    return torch.zeros(density.n_modes, dtype=torch.float64).index_add_(0, labels.long(), points.weights)
