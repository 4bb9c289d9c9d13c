"""Closed-form derivatives of the smooth activations, to third order.

The forward Laplacian needs σ, σ' and σ'' in its forward pass, and σ''' in its backward pass. With s the logistic
function and q = s(1 − s), its derivatives are s' = q, s'' = q(1 − 2s), s''' = q(1 − 6q); from σ = a·s follows
σ⁽ⁿ⁾ = a s⁽ⁿ⁾ + n s⁽ⁿ⁻¹⁾.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Derivatives = Callable[[Tensor, int], tuple[Tensor, ...]]
"""(a, order) → (σ(a), σ'(a), …) up to the order, at most 3; elementwise."""


def silu(a: Tensor, order: int) -> tuple[Tensor, ...]:
    """σ = a·s(a)."""
    s = torch.sigmoid(a)
    value = a * s
    if order == 0:
        return (value,)
    # σ' = s + σ(1 − s) is the interpolation from s to 1 by σ: one pass over memory.
    # The 1 has the rank of s: compiled, lerp gives its output the memory format of a batch of images.
    one = s.new_ones((1,) * s.ndim)
    if order == 1:
        return value, s.lerp_(one, value)
    first = torch.lerp(s, one, value)
    q = torch.addcmul(s, s, s, value=-1)
    q_r = torch.addcmul(q, q, s, value=-2)
    second = torch.addcmul(2 * q, a, q_r)
    if order == 2:
        return value, first, second
    return value, first, second, torch.addcmul(3 * q_r, torch.addcmul(a, a, q, value=-6), q)


def softplus(a: Tensor, order: int) -> tuple[Tensor, ...]:
    """σ = log(1 + eᵃ)."""
    found = [F.softplus(a)]
    if order >= 1:
        s = torch.sigmoid(a)
        found.append(s)
    if order >= 2:
        q = torch.addcmul(s, s, s, value=-1)
        found.append(q)
    if order >= 3:
        found.append(torch.addcmul(q, q, s, value=-2))
    return tuple(found)


def tanh(a: Tensor, order: int) -> tuple[Tensor, ...]:
    """σ = tanh(a)."""
    t = torch.tanh(a)
    found = [t]
    if order >= 1:
        d = torch.addcmul(t.new_ones(()), t, t, value=-1)
        found.append(d)
    if order >= 2:
        found.append((t * d).mul_(-2))
    if order >= 3:
        found.append(torch.addcmul(4 * d, d, d, value=-6))
    return tuple(found)


def gelu(a: Tensor, order: int) -> tuple[Tensor, ...]:
    """σ = a·Φ(a), Φ the standard normal distribution function, φ its density."""
    found = [F.gelu(a)]
    if order >= 1:
        # Φ + aφ in one kernel instead of a dozen.
        found.append(torch.ops.aten.gelu_backward(torch.ones_like(a), a))
    if order >= 2:
        pdf = torch.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
        found.append(pdf * (2 - a * a))
    if order >= 3:
        found.append(a * pdf * (a * a - 4))
    return tuple(found)


def derivatives_of(module: nn.Module) -> Derivatives | None:
    """The closed form for an activation module, or None where this file has none for its settings."""
    match module:
        case nn.SiLU():
            return silu
        case nn.Softplus(beta=1 | 1.0, threshold=threshold) if threshold >= 20:
            return softplus
        case nn.Tanh():
            return tanh
        case nn.GELU(approximate="none"):
            return gelu
        case _:
            return None
