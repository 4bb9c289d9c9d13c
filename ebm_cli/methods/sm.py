"""Score matching: fit the score −∇f to the data's score without knowing it.

The Fisher divergence ½ E_data‖∇log p_data − ∇log p_θ‖² contains the unknown score; integration by parts, with p_data·∇f
→ 0 at infinity, turns it into an expectation that data rows can estimate:

    J(θ) = E_data[ ½‖∇f(x)‖² − tr ∇²f(x) ] + const

The boundary condition fails for data with a hard edge: such a data set needs smoothing noise (`dataset.noise_std`).
Source: Hyvärinen (2005), "Estimation of non-normalized statistical models by score matching", Theorem 1.
"""

import torch
from torch import Tensor

from ebm_cli.derivatives import laplacian
from ebm_cli.energies import Energy
from ebm_cli.methods.base import Evaluations, LossOutput, Method, require_smooth


class SM(Method):
    """L = mean_x[ ½‖∇f(x)‖² − tr ∇²f(x) ], with the exact trace.

    Cost: one Laplacian a row, by the forward Laplacian: about D + 2 forward passes, min(D, width) for a network.
    """

    def check(self, energy: Energy, batch_size: int) -> None:
        require_smooth(energy)

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        grad, trace = laplacian(energy, x)
        square = grad.flatten(1).square().sum(1).mean()
        bend = trace.mean()
        metrics = {"score_norm": square.detach(), "laplacian": bend.detach()}
        return LossOutput(0.5 * square - bend, metrics, evaluations=Evaluations(grad=1, laplacian=1))
