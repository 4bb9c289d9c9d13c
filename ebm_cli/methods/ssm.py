"""Sliced score matching: score matching along random directions in place of the whole trace.

With directions v, E[v vᵀ] = I, the trace of the Hessian is E_v[vᵀ∇²f v]:

    J(θ) = E_data E_v[ ½ (v·∇f)² − vᵀ∇²f v ]            sliced score matching
    J(θ) = E_data E_v[ ½ ‖∇f‖²   − vᵀ∇²f v ]            with variance reduction: E_v[(v·∇f)²] = ‖∇f‖² is known

The second is the exact score-matching loss with Hutchinson's estimator of the trace. With signs v its error is
Σ_{i≠j} v_i v_j ∂_i∂_j f, which decides the weights of separated modes as much as the rows do (docs/adr/0027). A second
direction h ⊙ v, where half of the entries of h are −1, is orthogonal to v, and the terms with h_i ≠ h_j cancel in the
mean of the two: in the plane the trace is exact, in D dimensions the variance is (D − 2)/(2D − 2) of that of one
direction, where two independent ones have 1/2.

With `estimator=finite_difference` the derivatives are central differences of the energy (see `finite_difference`).

Sources: Song, Garg, Shi & Ermon (2019), "Sliced score matching", eq. 7–9; Hutchinson (1989).
"""

import math
from functools import cache
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ebm_cli.derivatives import sliced_terms
from ebm_cli.energies import Energy
from ebm_cli.methods.base import Evaluations, LossOutput, Method, Symptom, require_smooth
from ebm_cli.methods.finite_difference import LEAST_STEP, difference_terms
from ebm_cli.methods.unbounded import UNBOUNDED
from ebm_cli.methods.whitening import Whitening

if TYPE_CHECKING:
    from ebm_cli.methods.replicated import Replicated

Estimator = Literal["exact", "finite_difference"]
Projection = Literal["orthogonal", "rademacher", "gaussian", "sphere"]

BITWISE_FROM = 4096
"""Number of signs from which each takes one bit of a random number and not a number of its own: a third of the time."""


class SSM(Method):
    """L = mean_x mean_v[ ½‖∇f‖² − vᵀ∇²f v ], or with ½ (v·∇f)² if `variance_reduction` is off.

    The loss is summed over D and averaged over the batch and the projections.

    Args:
        projection: distribution of v: rademacher (±1, the least variance of independent ones), orthogonal (±1, two by
            two orthogonal; off by one product of signs for odd D), gaussian, or sphere (uniform, scaled by √D so that
            E[vvᵀ] = I).
        n_projections: directions a row, ≥ 1.
        variance_reduction: use the exact ‖∇f‖²; finite differences have it only where a pair of orthogonal directions
            spans the plane.
        estimator: exact derivatives in x, or finite_difference: 1 + 2 n_projections energies a row and no derivative.
        eps: length of the step of finite_difference, > 0 in standardised units, at least 0.05 in float32; the bias is
            of the order of its square.
        whiten: train in coordinates in which the data have covariance I (see `whitening`).
        shape: shape of one point (for `whiten`).
        data: rows [N, D] in standardised units (for `whiten`).

    Shapes: x [B, *D].
    Raises: ValueError if a number is out of range, or the points cannot be whitened.
    Cost: n_projections second directional derivatives a row, whatever D is; or 1 + 2 n_projections energies.
    """

    divided = ()
    needs_continuous_density = True

    def __init__(
        self,
        projection: Projection = "orthogonal",
        n_projections: int = 2,
        variance_reduction: bool = True,
        estimator: Estimator = "exact",
        eps: float = 0.1,
        whiten: bool = False,
        shape: tuple[int, ...] = (),
        data: Tensor | None = None,
    ) -> None:
        super().__init__()
        if n_projections < 1:
            raise ValueError(f"n_projections must be >= 1, got {n_projections}")
        if eps <= 0:
            raise ValueError(f"eps must be > 0, got {eps}")
        self.projection = projection
        self.n_projections = n_projections
        self.variance_reduction = variance_reduction
        self.estimator = estimator
        self.eps = eps
        self.whitening = Whitening(shape, data) if whiten else None

    @property
    def score_scale(self) -> float:
        return 1.0

    def in_coordinates(self, energy: Energy, x: Tensor) -> tuple[Energy, Tensor]:
        return (energy, x) if self.whitening is None else self.whitening.transform(energy, x)

    def validate(self, energy: Energy, batch_size: int) -> None:
        if self.estimator == "exact":
            require_smooth(energy)
        elif self.eps < LEAST_STEP and any(p.dtype is torch.float32 for p in energy.parameters()):
            raise ValueError(
                f"method.eps must be >= {LEAST_STEP} in float32, where the second difference of the energy is lost in "
                f"rounding, got {self.eps}; dtype=float64 takes less"
            )

    def n_directions(self, energy: Energy) -> int | None:
        return self.n_projections if self.estimator == "exact" else None

    def symptoms(self) -> tuple[Symptom, ...]:
        return (*super().symptoms(), UNBOUNDED)

    def replicated(self) -> "type[Replicated[SSM]]":
        # It imports this module.
        from ebm_cli.methods.replicated.ssm import ReplicatedSSM

        return ReplicatedSSM

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        energy, x = self.in_coordinates(energy, x)
        k = self.n_projections
        v = DRAW[self.projection]((k, *x.shape), x, rng)
        if self.estimator == "exact":
            terms = sliced_terms(energy, x, v, exact_square=self.variance_reduction)
            cost = Evaluations(grad=float(self.variance_reduction), laplacian=k)
        else:
            terms = difference_terms(energy, x, v, self.eps)
            cost = Evaluations(energy=1 + 2 * k)
        metrics = {
            "score_norm": terms.square,
            "laplacian": terms.curvature,
            "loss_se": terms.deviation / (self.ranks.size * len(x)) ** 0.5,
        }
        return LossOutput(terms.objective, metrics, evaluations=cost)


def _rademacher(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
    n = math.prod(shape)
    # Other devices do not promise 32 random bits a number.
    if n < BITWISE_FROM or like.device.type not in ("cpu", "cuda"):
        signs = torch.empty(shape, dtype=like.dtype, device=like.device).random_(0, 2, generator=rng)
    else:
        words = torch.empty(-(n // -32), 1, dtype=torch.int32, device=like.device)
        bits = words.random_(-(2**31), 2**31, generator=rng) << _bit_positions(like.device)
        # The bit is the sign of a float, whatever its other bits are.
        signs = bits.view(torch.float32).view(-1)[:n].view(shape)
        return torch.copysign(torch.ones((), device=like.device), signs).to(like.dtype)
    return signs.mul_(2).sub_(1)


def _orthogonal(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
    k, dim = shape[0], math.prod(shape[2:])
    v = _rademacher((-(k // -2), *shape[1:]), like, rng)
    if k == 1:
        return v
    # One h for all rows: given h, their v are independent.
    ranks = torch.randperm(dim, generator=rng, device=like.device)
    h = torch.where(ranks < dim // 2, -1.0, 1.0).to(like.dtype).view(shape[2:])
    return torch.stack((v, h * v), 1).flatten(0, 1)[:k]


@cache
def _bit_positions(device: torch.device) -> Tensor:
    return torch.arange(32, dtype=torch.int32, device=device)


def _gaussian(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=like.dtype, device=like.device)


def _sphere(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
    v = _gaussian(shape, like, rng)
    flat = v.flatten(2)
    scale: Tensor = flat.shape[2] ** 0.5 / flat.norm(dim=2, keepdim=True)
    return (flat * scale).view(shape)


DRAW = {"orthogonal": _orthogonal, "rademacher": _rademacher, "gaussian": _gaussian, "sphere": _sphere}
