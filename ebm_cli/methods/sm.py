"""Score matching: fit the score −∇f to the unknown score of the data.

The Fisher divergence ½ E_data‖∇log p_data − ∇log p_θ‖² contains the unknown score; integration by parts, with p_data·∇f
→ 0 at infinity, turns it into an expectation that rows of data can estimate:

    J(θ) = E_data[ ½‖∇f(x)‖² − tr ∇²f(x) ] + const

The boundary condition fails for data whose density jumps: such a data set needs smoothing noise (`dataset.noise_std`).
Source: Hyvärinen (2005), "Estimation of non-normalized statistical models by score matching", Theorem 1.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ebm_cli.derivatives import exact_terms
from ebm_cli.energies import Energy
from ebm_cli.methods.base import Evaluations, LossOutput, Method, Symptom, require_smooth
from ebm_cli.methods.unbounded import UNBOUNDED
from ebm_cli.methods.whitening import Whitening

if TYPE_CHECKING:
    from ebm_cli.methods.replicated import Replicated


class SM(Method):
    """L = mean_x[ ½‖∇f(x)‖² − tr ∇²f(x) ], with the exact trace.

    Args:
        whiten: train in coordinates in which the data have covariance I (see `whitening`).
        shape: shape of one point (for `whiten`).
        data: rows [N, D] in standardised units (for `whiten`).

    Shapes: x [B, *D].
    Raises: ValueError if the points cannot be whitened.
    Cost: one Laplacian a row, by the forward Laplacian: about D + 2 forward passes, min(D, width) for a network that
        takes the points as they are.
    """

    divided = ()
    needs_continuous_density = True

    def __init__(self, whiten: bool = False, shape: tuple[int, ...] = (), data: Tensor | None = None) -> None:
        super().__init__()
        self.whitening = Whitening(shape, data) if whiten else None

    @property
    def score_scale(self) -> float:
        return 1.0

    def in_coordinates(self, energy: Energy, x: Tensor) -> tuple[Energy, Tensor]:
        return (energy, x) if self.whitening is None else self.whitening.transform(energy, x)

    def validate(self, energy: Energy, batch_size: int) -> None:
        require_smooth(energy)

    def n_directions(self, energy: Energy) -> int:
        return math.prod(energy.shape)

    def symptoms(self) -> tuple[Symptom, ...]:
        return (*super().symptoms(), UNBOUNDED)

    def replicated(self) -> "type[Replicated[SM]]":
        # It imports this module.
        from ebm_cli.methods.replicated.sm import ReplicatedSM

        return ReplicatedSM

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        energy, x = self.in_coordinates(energy, x)
        terms = exact_terms(energy, x)
        metrics = {
            "score_norm": terms.square,
            "laplacian": terms.curvature,
            "loss_se": terms.deviation / (self.ranks.size * len(x)) ** 0.5,
        }
        return LossOutput(terms.objective, metrics, evaluations=Evaluations(grad=1, laplacian=1))
