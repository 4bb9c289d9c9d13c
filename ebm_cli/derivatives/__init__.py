"""Derivatives of an energy: its gradient in x, directional second derivatives, and the exact Laplacian.

Every sampler and every score-matching method takes its derivatives here. An energy whose layers all have a rule (see
`rules`) is differentiated by them, which is several times faster than autograd; any other callable goes through autograd with
the same result.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ebm_cli.derivatives.rules import Differentiable, Jet, Pullback, pull, push, supports

__all__ = [
    "Differentiable",
    "Jet",
    "Pullback",
    "gradient",
    "laplacian",
    "pull",
    "push",
    "second_directional",
    "supports",
    "value_and_grad",
]

EnergyFn = Callable[[Tensor], Tensor]


def value_and_grad(energy: EnergyFn, x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and ∇f(x), both detached: what a chain needs.

    Shapes: x [B, *D] → [B], [B, *D].  Cost: one forward and one backward pass.
    """
    if isinstance(energy, nn.Module) and supports(energy):
        with torch.no_grad():
            return _pulled(energy, x)
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = energy(x)
        (grad,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), grad


def gradient(energy: EnergyFn, x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and ∇f(x), differentiable in the parameters: what a loss of the score needs.

    Shapes: x [B, *D] → [B], [B, *D].
    """
    if isinstance(energy, nn.Module) and supports(energy):
        return _pulled(energy, x)
    x = x.detach().requires_grad_(True)
    value = energy(x)
    (grad,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    return value, grad


def second_directional(energy: EnergyFn, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """First derivatives along K directions and the sum of the second ones, differentiable in the parameters.

        v_k·∇f(x)   and   Σ_k v_kᵀ∇²f(x) v_k

    Source: collapsed Taylor mode; Li et al. (2023), arXiv:2307.08214, with arbitrary directions.

    Shapes: x [B, *D]; v [K, B, *D] or [K, 1, *D] → [K, B], [B].  Cost: about 2 + K forward passes, and one backward.
    """
    if isinstance(energy, nn.Module) and supports(energy):
        jet = push(energy, Jet(x, v, None))
        first = jet.first.expand(v.shape[0], x.shape[0])
        second = torch.zeros_like(jet.value) if jet.second is None else jet.second
        return first, second
    v = v.expand(v.shape[0], *x.shape)
    along, curvature = _hessian_products(energy, x, v)
    return along, curvature.sum(0)


def laplacian(energy: EnergyFn, x: Tensor) -> tuple[Tensor, Tensor]:
    """∇f(x) and the exact Laplacian tr ∇²f(x), differentiable in the parameters.

    Where a network's first layer is linear and narrower than D, its Hessian lives in the row space of that layer's weight:
    the directions are an orthonormal basis of that space, and the trace stays exact (Li et al. 2023, section on low rank).

    Shapes: x [B, *D] → [B, *D], [B].  Cost: about min(D, width) + 2 forward passes, and one backward.
    """
    size = x[0].numel()
    basis = torch.eye(size, dtype=x.dtype, device=x.device).view(size, 1, *x.shape[1:])
    if not (isinstance(energy, nn.Module) and supports(energy)):
        along, curvature = _hessian_products(energy, x, basis.expand(size, *x.shape))
        return along.T.reshape(x.shape), curvature.sum(0)
    narrow = getattr(energy, "narrow_directions", None)
    reduced = narrow() if narrow is not None else None
    if reduced is None:
        along, trace = second_directional(energy, x, basis)
        return along.T.reshape(x.shape), trace
    # The part of the energy outside the row space is added by the energy itself, and its gradient needs all of D.
    directions, outside = reduced
    _, trace = second_directional(energy, x, directions.view(-1, 1, *x.shape[1:]))
    return gradient(energy, x)[1], trace + outside


def _pulled(energy: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    value, pullback = pull(energy, x)
    return value, pullback(torch.ones_like(value))


def _hessian_products(energy: EnergyFn, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """v_k·∇f and v_kᵀ∇²f v_k, [K, B] each, by forward-over-reverse differentiation, vectorised over the directions."""

    def grad_fn(point: Tensor) -> Tensor:
        return torch.func.grad(lambda y: energy(y).sum())(point)

    def along(direction: Tensor) -> tuple[Tensor, Tensor]:
        grad, product = torch.func.jvp(grad_fn, (x,), (direction,))
        return (direction * grad).flatten(1).sum(1), (direction * product).flatten(1).sum(1)

    first, second = torch.func.vmap(along)(v)
    return first, second
