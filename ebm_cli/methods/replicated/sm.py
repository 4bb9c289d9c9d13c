"""Score matching of several runs: `methods.sm` with one more dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.derivatives import laplacian
from ebm_cli.methods.base import Evaluations
from ebm_cli.methods.replicated.base import Losses, Replicated
from ebm_cli.methods.replicated.score_terms import score_losses, squared
from ebm_cli.methods.replicated.whitened import in_coordinates
from ebm_cli.methods.sm import SM


class ReplicatedSM(Replicated[SM]):
    """L_r = mean_x[ ½‖∇f_r(x)‖² − tr ∇²f_r(x) ]."""

    @staticmethod
    def refusal(method: SM) -> str | None:
        return None

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        energy, points = in_coordinates([method.whitening for method in self.methods], self.energy, x)
        grad, trace = laplacian(energy, points)
        return score_losses(squared(grad), trace, x, Evaluations(grad=1, laplacian=1))
