"""Sliced score matching of several runs: `methods.ssm` with one more dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.derivatives import directional
from ebm_cli.methods.base import Evaluations
from ebm_cli.methods.replicated.base import Losses, Replicated
from ebm_cli.methods.replicated.score_terms import score_losses, squared
from ebm_cli.methods.ssm import DRAW, SSM


class ReplicatedSSM(Replicated[SSM]):
    """L_r = mean_x mean_v[ ½‖∇f_r‖² − vᵀ∇²f_r v ], or with ½ (v·∇f_r)²."""

    @staticmethod
    def refusal(method: SSM) -> str | None:
        if method.estimator != "exact":
            return f"method.estimator={method.estimator}"
        return None if method.whitening is None else "method.whiten=true"

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        method = self.methods[0]
        k, draw = method.n_projections, DRAW[method.projection]
        v = torch.cat([draw((k, *rows.shape), rows, rng) for rows, rng in zip(x, rngs, strict=True)], 1)
        exact_square = method.variance_reduction
        (slopes, curvature), grad = directional(self.energy, x.flatten(0, 1), v, with_gradient=exact_square)
        square = slopes.square().mean(0) if grad is None else squared(grad)
        return score_losses(square, curvature / k, x, Evaluations(grad=float(exact_square), laplacian=k))
