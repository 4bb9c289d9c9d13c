"""Terms of sliced score matching from values of the energy alone, by central differences.

With v, E[v vᵀ] = I, and a step δ, the three energies f(x + δv), f(x − δv) and f(x) give

    v·∇f ≈ (f(x + δv) − f(x − δv))/(2δ),    vᵀ∇²f v ≈ (f(x + δv) + f(x − δv) − 2 f(x))/δ²

and ½ (v·∇f)² − vᵀ∇²f v up to O(δ²), exactly for a quadratic energy. No derivative in x is taken, so that any energy
will do, a piecewise linear one included: its kinks are seen at the scale of the step.

Source: Pang, Xu, Li, Song, Ermon & Zhu (2020), "Efficient learning of generative models via finite-difference score
matching", arXiv:2007.03317; ε there is ‖δv‖, which is δ√D for v on the sphere or of signs.
"""

import torch
from torch import Tensor

from ebm_cli.derivatives import ScoreTerms
from ebm_cli.energies import Energy

LEAST_STEP = 0.05
"""‖δv‖ in float32 under which rounding dominates: f of 10 nats is exact to 1e-6, its second difference to 1e-6/δ²."""


def difference_terms(energy: Energy, x: Tensor, v: Tensor, step: float) -> ScoreTerms:
    """The terms of mean_k[ ½ (v_k·∇f)² − v_kᵀ∇²f v_k ] of each point.

    Args:
        energy: f.
        x: points [B, *D].
        v: directions [K, B, *D], E[v vᵀ] = I.
        step: ‖δv‖ = δ√D, > 0, in the units of x.

    Cost: 1 + 2K energies a row, in one forward pass.
    """
    return terms_of_values(energy(points_of(x, v, step)), x, v, step)


def points_of(x: Tensor, v: Tensor, step: float) -> Tensor:
    """The points [(1 + 2K) B, *D] whose energies `difference_terms` takes."""
    delta = step / x[0].numel() ** 0.5
    return torch.cat((x[None], torch.add(x, v, alpha=delta), torch.sub(x, v, alpha=delta))).flatten(0, 1)


def terms_of_values(value: Tensor, x: Tensor, v: Tensor, step: float) -> ScoreTerms:
    """The terms from the energies at those points [(1 + 2K) B]."""
    k, delta = len(v), step / x[0].numel() ** 0.5
    value = value.view(1 + 2 * k, len(x))
    ahead, behind = value[1 : 1 + k], value[1 + k :]
    square = ((ahead - behind) / (2 * delta)).square().mean(0)
    # Differences first: their size is that of a slope, that of the sum of two energies is not.
    curvature = ((ahead - value[0]) + (behind - value[0])).mean(0) / delta**2
    rows = 0.5 * square - curvature
    fixed = rows.detach()
    deviation = fixed.std() if len(x) > 1 else torch.zeros_like(fixed).sum()
    return ScoreTerms(rows.mean(), square.detach().mean(), curvature.detach().mean(), deviation)
