"""Value, gradient and second directional derivatives of a log-density at the same points."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Differentials(NamedTuple):
    """log q(x) [B], nats; ∇log q(x), of x's shape; Σ_k v_kᵀ ∇²log q(x) v_k [B], None without directions."""

    value: Tensor
    gradient: Tensor
    second: Tensor | None


def differentials_by_autograd(log_prob: Callable[[Tensor], Tensor], x: Tensor, v: Tensor | None) -> Differentials:
    """Differentiate a log-density twice by autograd, for densities without a closed form.

    Args:
        log_prob: [B, *shape] → [B], differentiable twice.
        x: points [B, *shape].
        v: directions [K, 1 or B, *shape].

    Cost: one backward pass, and one more for each direction.
    """
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        value = log_prob(at)
        (gradient,) = torch.autograd.grad(value.sum(), at, create_graph=v is not None)
        second = None
        if v is not None:
            second = torch.zeros_like(value)
            for direction in v.expand(len(v), *x.shape):
                slope = (gradient * direction).sum()
                if slope.requires_grad:
                    (bent,) = torch.autograd.grad(slope, at, retain_graph=True)
                    second = second + (bent * direction).flatten(1).sum(1)
    return Differentials(value.detach(), gradient.detach(), None if second is None else second.detach())
