"""Divergence of the chain: the term that contrastive divergence drops.

The loss mean f(x⁺) − mean f(x⁻) treats the ends of the chains as constants, although the distribution q of the chains
depends on the energy that moves them. The energy can then win by making its own chains slow, or by collapsing them,
which no term of the loss sees. The divergence of the chain from the model,

    KL(q_θ ‖ p) = E_q[f_θ⁻(x̃)] − H(q_θ) + const,     x̃ = x − ε ∇f_θ(x) + √(2ε T) z,

with θ⁻ held fixed, is taken through one more Langevin step from the ends of the chains: its gradient turns the slope of
the energy towards low energies, and its entropy keeps the ends apart. The entropy is estimated from the distance ρ_i of
each x̃_i to the nearest end of another chain:

    H(q) ≈ (D/n) Σ_i log ρ_i + log(n − 1) + log V_D + γ,     V_D the volume of the unit ball, γ Euler's constant.

Sources: Du, Li, Tenenbaum & Mordatch (2021), "Improved contrastive divergence training of energy based models", section
3; Kozachenko & Leonenko (1987), Problems of Information Transmission 23(2).
"""

import math

import torch
from torch import Tensor

from ebm_cli.derivatives import value_and_grad
from ebm_cli.energies import Energy
from ebm_cli.system.ranks import ONE, Ranks

EULER = 0.5772156649015329


def chain_divergence(
    energy: Energy, x: Tensor, step_size: float, temperature: float, rng: torch.Generator, ranks: Ranks = ONE
) -> Tensor:
    """KL(q_θ ‖ exp(−f/T)/Z) − log Z [], nats, differentiable in θ through one Langevin step from x alone.

    Args:
        energy: f.
        x: ends of n ≥ 2 chains [n, *D]; constants.
        step_size: ε > 0.
        temperature: T > 0.
        rng: draws z.
        ranks: the processes whose chains are neighbours, too.

    Cost: for each chain one gradient that is differentiated again, and one energy with its gradient.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
    z = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
    moved = x.detach() - step_size * slope + math.sqrt(2 * step_size * temperature) * z
    # f with θ held fixed, from its value and slope at the points: only the points carry a derivative.
    value, grad = value_and_grad(energy, moved)
    fixed = (value + (grad * (moved - moved.detach())).flatten(1).sum(1)) / temperature
    return fixed.mean() - entropy(moved, ranks.join(x.detach()), ranks.index * len(x))


def entropy(x: Tensor, others: Tensor, first: int = 0) -> Tensor:
    """Nearest-neighbour estimate of the entropy of a distribution [], nats, differentiable in x.

    Args:
        x: n ≥ 2 points of the distribution [n, *D].
        others: points of the same distribution [N, *D], N ≥ n; x_i is not compared with the one at `first` + i.
        first: ≥ 0.

    Cost: n N distances.
    """
    n, dim = len(others), x[0].numel()
    a, b = x.flatten(1), others.flatten(1)
    with torch.no_grad():
        distances = torch.cdist(a, b)
        distances[:, first : first + len(a)].fill_diagonal_(math.inf)
        nearest = distances.argmin(1)
    # Distances to the neighbours alone: the root of a sum of squares, kept away from 0, where its slope is infinite.
    squares = (a - b[nearest]).square().sum(1).clamp_min(torch.finfo(x.dtype).tiny)
    volume = 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim + 1)
    return 0.5 * dim * squares.log().mean() + math.log(n - 1) + volume + EULER
