"""Derivatives of an energy: its gradient in x, directional second derivatives, and the exact Laplacian.

Every sampler and every score-matching method takes its derivatives here. An energy whose layers all have a rule (see
`rules`) is differentiated by them, which is several times faster than autograd; any other callable goes through
autograd with the same result.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.derivatives.blocks import Still, in_blocks
from ebm_cli.derivatives.rules import Differentiable, Jet, Pullback, supports, sweep

__all__ = [
    "Differentiable",
    "Directional",
    "Jet",
    "Pullback",
    "directional",
    "gradient",
    "laplacian",
    "supports",
    "sweep",
    "value_and_grad",
]

EnergyFn = Callable[[Tensor], Tensor]


class Directional(NamedTuple):
    """Derivatives along K directions: the slopes v_k·∇f [K, B] and the summed curvature Σ_k v_kᵀ∇²f v_k [B]."""

    slopes: Tensor
    curvature: Tensor


def value_and_grad(energy: EnergyFn, x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and ∇f(x), both detached: what a chain needs.

    Shapes: x [B, *D] → [B], [B, *D].  Cost: one forward and one backward pass.
    """
    if isinstance(energy, nn.Module) and supports(energy):
        with torch.no_grad():
            return _value_and_grad_by_rules(energy, x)
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = energy(x)
        (grad,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), grad


def gradient(energy: EnergyFn, x: Tensor) -> Tensor:
    """∇f(x), differentiable in the parameters: what a loss of the score needs.

    Shapes: x [B, *D] → [B, *D].  Cost: one forward and one backward pass, and their backward.
    """
    if isinstance(energy, nn.Module) and supports(energy):
        return _value_and_grad_by_rules(energy, x)[1]
    x = x.detach().requires_grad_(True)
    (grad,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
    return grad


def directional(
    energy: EnergyFn, x: Tensor, v: Tensor, *, with_gradient: bool = False
) -> tuple[Directional, Tensor | None]:
    """First and second derivatives along K directions, and ∇f if asked for, differentiable in the parameters.

    Source: collapsed Taylor mode; Li et al. (2023), arXiv:2307.08214, with arbitrary directions.

    Args:
        energy: f.
        x: points [B, *D].
        v: directions [K, B, *D], or [K, 1, *D] where they are the same for every point.
        with_gradient: also return ∇f [B, *D], which shares the forward pass.

    Cost: about 2 + K forward passes (3 + K with the gradient), and their backward.
    """
    if isinstance(energy, nn.Module) and supports(energy):
        jet, pullback = sweep(energy, Jet(x, v))
        assert jet.first is not None
        slopes = jet.first.expand(len(v), len(x))
        curvature = torch.zeros_like(jet.value) if jet.second is None else jet.second
        return Directional(slopes, curvature), pullback(torch.ones_like(jet.value)) if with_gradient else None
    slopes, curvatures = _hessian_products(energy, x, v.expand(len(v), *x.shape))
    return Directional(slopes, curvatures.sum(0)), gradient(energy, x) if with_gradient else None


def laplacian(energy: EnergyFn, x: Tensor) -> tuple[Tensor, Tensor]:
    """∇f(x) and the exact Laplacian tr ∇²f(x), differentiable in the parameters.

    Where a network's first layer is linear and narrower than D, its Hessian lives in the row space of that layer's
    weight: the directions are an orthonormal basis of that space, and the trace stays exact (Li et al. 2023, section on
    low rank). Directions and points are taken in blocks that bound the memory (see `blocks`), but not for an energy
    without rules.

    Shapes: x [B, *D] → [B, *D], [B].  Cost: about min(D, width) + 2 forward passes, and their backward.
    """
    module = energy if isinstance(energy, nn.Module) and supports(energy) else None
    narrow = None if module is None else getattr(module, "narrow_directions", None)
    reduced = None if narrow is None else narrow()
    size = x[0].numel()
    basis = torch.eye(size, dtype=x.dtype, device=x.device) if reduced is None else reduced[0]
    v = basis.view(-1, 1, *x.shape[1:])
    blocked = None if module is None else in_blocks(module, lambda x, v: directional(energy, x, v)[0], x, v)
    if reduced is None:
        slopes, trace = directional(energy, x, v)[0] if blocked is None else blocked
        return slopes.T.reshape(x.shape), trace
    # The part of the energy outside the row space is added by the energy itself, and its gradient needs all of D.
    if module is None or blocked is None:
        (_, trace), grad = directional(energy, x, v, with_gradient=True)
        assert grad is not None
    else:
        with Still(module):
            trace, grad = blocked[1], gradient(energy, x)
    return grad, trace + reduced[1]


def _value_and_grad_by_rules(energy: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    jet, pullback = sweep(energy, Jet(x))
    return jet.value, pullback(torch.ones_like(jet.value))


def _hessian_products(energy: EnergyFn, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """v_k·∇f and v_kᵀ∇²f v_k, [K, B] each, by forward-over-reverse differentiation, vectorised over the directions."""

    def grad_fn(point: Tensor) -> Tensor:
        grad: Tensor = torch.func.grad(lambda y: energy(y).sum())(point)
        return grad

    def along(direction: Tensor) -> tuple[Tensor, Tensor]:
        grad, product = torch.func.jvp(grad_fn, (x,), (direction,))[:2]
        return (direction * grad).flatten(1).sum(1), (direction * product).flatten(1).sum(1)

    first, second = torch.func.vmap(along)(v)
    return first, second
