"""Losses of score matching of several runs: `derivatives.ScoreTerms` with one more dimension."""

import torch
from torch import Tensor

from ebm_cli.methods.base import Evaluations
from ebm_cli.methods.replicated.base import Losses


def score_losses(square: Tensor, curvature: Tensor, x: Tensor, cost: Evaluations) -> Losses:
    """The losses of the runs from the squared score and the curvature of each point [R·B], as `ScoreTerms` has them."""
    n_rows = x.shape[1]
    square, curvature = square.view(-1, n_rows), curvature.view(-1, n_rows)
    rows = torch.sub(0.5 * square, curvature)
    deviation = rows.detach().std(1, correction=min(1, n_rows - 1))
    metrics = {
        "score_norm": square.detach().mean(1),
        "laplacian": curvature.detach().mean(1),
        "loss_se": deviation / n_rows**0.5,
    }
    return Losses.of(rows.mean(1), metrics, cost)


def squared(grad: Tensor) -> Tensor:
    """‖∇f‖² of each point: [R·B, *D] → [R·B]."""
    return grad.flatten(1).square().sum(1)
