"""Score matching of several runs: `methods.sm`, `ssm` and `dsm` with one more dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.derivatives import directional, gradient, laplacian
from ebm_cli.methods.base import Evaluations
from ebm_cli.methods.dsm import DSM
from ebm_cli.methods.sm import SM
from ebm_cli.methods.ssm import DRAW, SSM
from ebm_cli.replicas.objective import Losses, Objective


class ReplicatedSM(Objective[SM]):
    """L_r = mean_x[ ½‖∇f_r(x)‖² − tr ∇²f_r(x) ]."""

    @staticmethod
    def refusal(method: SM) -> str | None:
        return None if method.whitening is None else "method.whiten=true"

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        grad, trace = laplacian(self.energy, x.flatten(0, 1))
        return _losses(_square(grad), trace, x, Evaluations(grad=1, laplacian=1))


class ReplicatedSSM(Objective[SSM]):
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
        square = slopes.square().mean(0) if grad is None else _square(grad)
        return _losses(square, curvature / k, x, Evaluations(grad=float(exact_square), laplacian=k))


class ReplicatedDSM(Objective[DSM]):
    """L_r = mean_x[ ½ ‖σ ∇f_r(x + σε) − ε‖² ], ε ~ N(0, I)."""

    @staticmethod
    def refusal(method: DSM) -> str | None:
        return None

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        sigma = self.methods[0].sigma
        eps = [torch.randn(x.shape[1:], generator=rng, dtype=x.dtype, device=x.device) for rng in rngs]
        noise = torch.stack(eps).flatten(0, 1)
        grad = gradient(self.energy, x.flatten(0, 1) + sigma * noise)
        rows = 0.5 * _square(sigma * grad - noise)
        metrics = {"score_norm": _square(grad.detach()).view(x.shape[:2]).mean(1)}
        return Losses(rows.view(x.shape[:2]).mean(1), metrics, Evaluations(grad=1))


def _losses(square: Tensor, curvature: Tensor, x: Tensor, cost: Evaluations) -> Losses:
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
    return Losses(rows.mean(1), metrics, cost)


def _square(grad: Tensor) -> Tensor:
    return grad.flatten(1).square().sum(1)
