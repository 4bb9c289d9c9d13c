"""Denoising score matching of several runs: `methods.dsm` with one more dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.derivatives import gradient
from ebm_cli.methods.base import Evaluations
from ebm_cli.methods.dsm import DSM
from ebm_cli.methods.replicated.base import Losses, Replicated
from ebm_cli.methods.replicated.score_terms import squared


class ReplicatedDSM(Replicated[DSM]):
    """L_r = mean_x[ ½ ‖σ ∇f_r(x + σε) − ε‖² ], ε ~ N(0, I)."""

    @staticmethod
    def refusal(method: DSM) -> str | None:
        return None

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        sigma = self.methods[0].sigma
        eps = [torch.randn(x.shape[1:], generator=rng, dtype=x.dtype, device=x.device) for rng in rngs]
        noise = torch.stack(eps).flatten(0, 1)
        grad = gradient(self.energy, x.flatten(0, 1) + sigma * noise)
        rows = 0.5 * squared(sigma * grad - noise)
        metrics = {"score_norm": squared(grad.detach()).view(x.shape[:2]).mean(1)}
        return Losses.of(rows.view(x.shape[:2]).mean(1), metrics, Evaluations(grad=1))
