"""Sliced score matching of several runs: `methods.ssm` with one more dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.derivatives import directional
from ebm_cli.energies import Energy
from ebm_cli.methods.base import Evaluations
from ebm_cli.methods.finite_difference import points_of, terms_of_values
from ebm_cli.methods.replicated.base import Losses, Replicated
from ebm_cli.methods.replicated.score_terms import score_losses, squared
from ebm_cli.methods.replicated.whitened import in_coordinates
from ebm_cli.methods.ssm import DRAW, SSM


class ReplicatedSSM(Replicated[SSM]):
    """L_r = mean_x mean_v[ ½‖∇f_r‖² − vᵀ∇²f_r v ], or with ½ (v·∇f_r)²."""

    @staticmethod
    def refusal(method: SSM) -> str | None:
        return None

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        method = self.methods[0]
        k, draw = method.n_projections, DRAW[method.projection]
        energy, points = in_coordinates([method.whitening for method in self.methods], self.energy, x)
        v = [draw((k, *rows.shape), rows, rng) for rows, rng in zip(points.chunk(len(x)), rngs, strict=True)]
        if method.estimator == "finite_difference":
            return _by_differences(energy, list(points.chunk(len(x))), v, method.eps)
        exact_square = method.variance_reduction
        (slopes, curvature), grad = directional(energy, points, torch.cat(v, 1), with_gradient=exact_square)
        square = slopes.square().mean(0) if grad is None else squared(grad)
        return score_losses(square, curvature / k, x, Evaluations(grad=float(exact_square), laplacian=k))


def _by_differences(energy: Energy, x: list[Tensor], v: list[Tensor], step: float) -> Losses:
    """The losses by `finite_difference`, from the points [B, *D] and directions [K, B, *D] of each run."""
    each = list(zip(x, v, strict=True))
    values = energy(torch.cat([points_of(points, along, step) for points, along in each])).chunk(len(each))
    terms = [terms_of_values(value, *own, step) for value, own in zip(values, each, strict=True)]
    metrics = {
        "score_norm": torch.stack([own.square for own in terms]),
        "laplacian": torch.stack([own.curvature for own in terms]),
        "loss_se": torch.stack([own.deviation for own in terms]) / len(x[0]) ** 0.5,
    }
    objective = torch.stack([own.objective for own in terms])
    return Losses.of(objective, metrics, Evaluations(energy=1 + 2 * len(v[0])))
