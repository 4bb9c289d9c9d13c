"""Weights of the modes where the density of the data is unknown: clusters of the training rows, integrated.

The groups k of `clusters` divide space: a point belongs to its nearest training row. The held-out rows give the shares
p_k of the data; the shares q_k of the model are sums over the cells of its quadrature in one and two dimensions, and
weighted means over the points that log Z was computed from beyond, which are exact up to the noise of the weights. Then

    mode TV = ½ Σ_k |q_k − p_k|
    se²     = ¼ [(1 − (Σ_k s_k p_k)²)/n + (1 − (Σ_k s_k q_k)²)/m],          s_k = sign(q_k − p_k)
    null    = ½ Σ_k √(2/π · p_k (1 − p_k) (1/n + 1/m))

with n held-out rows and m effective weighted points (1/m = 0 for a sum over cells). The null is the mean of mode TV for
a model with the weights of the data: half the sum of the means of |normal numbers| with the variances of the shares.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets import Dataset
from ebm_cli.evaluation.annealing import RELIABLE
from ebm_cli.evaluation.clusters import Clusters, find_clusters
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.divergences import NOTEWORTHY, UNLABELLED, total_variation
from ebm_cli.evaluation.importance_weights import effective_size
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.results import Results

KEY = "eval/mode_tv"
SHOWN = 3
"""Columns at most by which a note says where a mode is."""


@dataclass(frozen=True)
class Shares:
    """Probabilities of the groups [K], and the effective number of points behind them; inf for a sum over cells."""

    of: Tensor
    n: float


def results(context: Context) -> Results:
    """Mode TV of real data with its null and standard error, and a sentence on the mode that is furthest off."""
    if not context.is_real:
        return Results()
    if len(context.dataset.shape) > 1:
        return Results(absent={KEY: "images have no clusters of pixels: metrics=[features] compares their classes"})
    rows = context.dataset.reference.flatten(1).double().cpu()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(context.protocol.seed))
    try:
        clusters = find_clusters(rows[order].numpy(), np.random.default_rng(context.protocol.seed))
    except ValueError as reason:
        return Results(absent={KEY: str(reason)})
    if clusters.count == 1:
        return Results(absent={KEY: "the training rows have one mode: no group of them is apart from the others"})
    held_out = context.rows.flatten(1)
    data = Shares(_shares(clusters, held_out, torch.full((len(held_out),), 1 / len(held_out))), len(held_out))
    try:
        model = _model_shares(context, clusters)
    except NotIntegrable as reason:
        return Results(absent={KEY: str(reason)})
    return compare_shares(context.dataset, clusters, data, model)


def compare_shares(dataset: Dataset, clusters: Clusters, data: Shares, model: Shares) -> Results:
    """Mode TV between the shares of held-out rows and of a model, its companions, and the note."""
    noise = 1 / data.n + 1 / model.n
    sign = (model.of - data.of).sign()
    variance = sum(max(0.0, 1 - float((sign * one.of).sum()) ** 2) / one.n for one in (data, model))
    null = 0.5 * float((2 / math.pi * noise * data.of * (1 - data.of)).sqrt().sum())
    values = {KEY: total_variation(data.of, model.of), f"{KEY}_null": null, f"{KEY}_se": 0.5 * math.sqrt(variance)}
    return Results(dict(values), notes=_worst_mode(dataset, clusters, data, model))


def _shares(clusters: Clusters, u: Tensor, weights: Tensor) -> Tensor:
    """The sum of the weights [N] of the points u [N, D] in each group [K]."""
    labels = torch.from_numpy(clusters.label(u.double().cpu().numpy()))
    return torch.zeros(clusters.count, dtype=torch.float64).index_add_(0, labels, weights.double().cpu())


def _model_shares(context: Context, clusters: Clusters) -> Shares:
    """The probability of each group under exp(−f)/Z.

    Raises:
        NotIntegrable: neither a sum over cells nor annealing gives a number; the message gives the reason.
    """
    quadrature = context.divergence_result.quadrature
    if quadrature is not None:
        return Shares(_shares(clusters, *quadrature.heaviest(UNLABELLED)), math.inf)
    if context.divergences.data.is_on_grid:
        raise NotIntegrable("the model's density has no integral on a grid")
    weighted = context.weighted
    if weighted is not None:
        points, weights = weighted.first.x.flatten(1), weighted.log_weights.softmax(0)
        return Shares(_shares(clusters, points, weights), effective_size(weighted.log_weights))
    annealed = context.annealed
    if annealed.ess < RELIABLE:
        raise NotIntegrable(f"{annealed.ess:.1f} annealed chains carry the weight: too few to weigh modes")
    return Shares(_shares(clusters, annealed.x.flatten(1), annealed.log_weights.softmax(0)), annealed.ess)


def _worst_mode(dataset: Dataset, clusters: Clusters, data: Shares, model: Shares) -> tuple[str, ...]:
    """A sentence on the mode whose share is furthest from the data's; none where no mode is further off than chance."""
    difference = (model.of - data.of).abs()
    # Of two modes, which differ by the same, the larger one.
    k = int((difference > difference.max() - 1e-6).nonzero()[0])
    has, should = float(model.of[k]), float(data.of[k])
    errors = [math.sqrt(max(0.0, share * (1 - share)) / one.n) for share, one in ((has, model), (should, data))]
    if abs(has - should) <= max(NOTEWORTHY, 2 * math.hypot(*errors)):
        return ()
    return (
        f"the model gives {_with_error(has, errors[0])} to the mode at {_place(dataset, clusters, k)}, "
        f"the held-out rows {_with_error(should, errors[1])}",
    )


def _with_error(share: float, error: float) -> str:
    digits = 2 if error >= 0.005 or error == 0 else 3
    return f"{share:.{digits}f}" + (f" ± {error:.{digits}f}" if error else "")


def _place(dataset: Dataset, clusters: Clusters, k: int) -> str:
    """Place of group k in data units, by all of few columns, and by those of many in which it is furthest off."""
    centres = torch.from_numpy(clusters.centres)
    scale = dataset.standardizer.to_data_units(torch.stack((centres[k] + 1, centres[k])).float()).double().cpu()
    place, unit = scale[1], (scale[0] - scale[1]).abs()
    others = torch.cat((centres[:k], centres[k + 1 :])).mean(0)
    distance = (centres[k] - others).abs()
    shown = list(range(len(place)))
    if len(place) > SHOWN:
        furthest = distance.argsort(descending=True)[:SHOWN].tolist()
        shown = sorted(i for i in furthest if distance[i] >= distance.max() / 4)
    texts = {i: _round(float(place[i]), float(unit[i])) for i in shown}
    names = dataset.column_names
    if names is None and len(place) <= SHOWN:
        return f"({', '.join(texts.values())})"
    named = [f"{dataset.column_words.label(i) if names is None else names[i]} = {text}" for i, text in texts.items()]
    return f"({', '.join(named)})"


def _round(x: float, unit: float) -> str:
    """x to about a tenth of a unit; in powers of ten where that takes many digits."""
    decimals = 1 - math.floor(math.log10(unit) + 0.2) if unit > 0 else 1
    # Without the sign of a rounded zero.
    rounded = round(x, decimals) + 0.0
    return f"{rounded:.{max(0, decimals)}f}" if -5 <= decimals <= 4 else f"{rounded:.4g}"
