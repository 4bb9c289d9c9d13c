"""Denoising score matching: the score of the data blurred by a Gaussian is a regression.

For x̃ = x + σε the score of the blurred density at x̃ is E[(x − x̃)/σ² | x̃]. Therefore

    L(θ) = E_x E_ε[ ½ ‖σ ∇f(x̃) − ε‖² ]

is minimal where −∇f is the score of p_data ∗ N(0, σ²I): it learns the *blurred* density, never the sharp one, and needs
no second derivative. Source: Vincent (2011), "A connection between score matching and denoising autoencoders", eq. 9.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ebm_cli.derivatives import gradient
from ebm_cli.energies import Energy
from ebm_cli.methods.base import Evaluations, LossOutput, Method

if TYPE_CHECKING:
    from ebm_cli.methods.replicated import Replicated


class DSM(Method):
    """L = mean_x[ ½ ‖σ ∇f(x + σε) − ε‖² ], ε ~ N(0, I).

    Args:
        sigma: σ > 0, in standardised units; the model learns the data with this blur.

    Shapes: x [B, *D].  Raises: ValueError if σ is not positive.  Cost: one gradient a row.
    """

    divided = ()

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        if sigma <= 0:
            raise ValueError(f"sigma must be > 0, got {sigma}")
        self.sigma = sigma

    @property
    def score_scale(self) -> float:
        return self.sigma**2

    def n_directions(self, energy: Energy) -> int:
        return 0

    def replicated(self) -> "type[Replicated[DSM]]":
        # It imports this module.
        from ebm_cli.methods.replicated.dsm import ReplicatedDSM

        return ReplicatedDSM

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        eps = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
        grad = gradient(energy, x + self.sigma * eps)
        loss = 0.5 * (self.sigma * grad - eps).flatten(1).square().sum(1).mean()
        metrics = {"score_norm": grad.detach().flatten(1).square().sum(1).mean()}
        return LossOutput(loss, metrics, evaluations=Evaluations(grad=1))
