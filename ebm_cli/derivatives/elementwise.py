"""The rule of the smooth activations, by their closed-form derivatives (`activations`)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ebm_cli.derivatives.activations import Derivatives, derivatives_of
from ebm_cli.derivatives.jet import Jet, Pullback, ValueAndPullback, VjpFn


def has_closed_form(module: nn.Module) -> bool:
    """True if the rule holds for the settings of this activation."""
    return derivatives_of(module) is not None


def elementwise_vjp(module: nn.Module) -> VjpFn:
    """h ← σ(h), and back by σ'(h)."""
    derivatives = derivatives_of(module)
    assert derivatives is not None

    def at(x: Tensor) -> ValueAndPullback:
        if torch.is_grad_enabled():
            apply: Callable[..., tuple[Tensor, Tensor]] = _ValueAndSlope.apply
            value, slope = apply(x, derivatives)
            return lambda: value, lambda g: g * slope
        value, slope = derivatives(x, 1)
        return lambda: value, slope.mul_

    return at


def elementwise(module: nn.Module, jet: Jet) -> tuple[Jet, Pullback]:
    """h ← σ(h), J ← σ'(h) J, L ← σ'(h) L + σ''(h) Σ_k J_k², and back by σ'(h)."""
    if jet.first is None:
        value_of, pullback = elementwise_vjp(module)(jet.value)
        return Jet(value_of()), pullback
    derivatives = derivatives_of(module)
    assert derivatives is not None
    apply: Callable[..., tuple[Tensor, Tensor, Tensor | None, Tensor]] = _ElementwiseJet.apply
    value, slope, first, second = apply(jet.value, jet.first, jet.second, derivatives, jet.needs_first)
    return Jet(value, first, second), lambda g: g * slope


class _ValueAndSlope(torch.autograd.Function):
    """a → (σ(a), σ'(a)), differentiable once more: the backward pass needs σ'' only."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, derivatives: Derivatives) -> tuple[Tensor, Tensor]:
        value, first, second = derivatives(a, 2)
        ctx.save_for_backward(first, second)
        return value, first

    @staticmethod
    def backward(ctx: Any, g_value: Tensor, g_slope: Tensor) -> tuple[Tensor, None]:
        first, second = ctx.saved_tensors
        return torch.addcmul(g_value * first, g_slope, second), None


class _ElementwiseJet(torch.autograd.Function):
    """The elementwise rule, and the slope for the pullback, with the backward pass in closed form; S = Σ_k J_k²:

    ∂h = g_h σ' + (g_σ' + Σ_k g_Jk J_k + g_L L) σ'' + g_L S σ⁽³⁾;   ∂J_k = σ' g_Jk + 2 σ'' J_k g_L;   ∂L = σ' g_L
    """

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, first: Tensor, second: Tensor | None, derivatives: Derivatives, needs_first: bool
    ) -> tuple[Tensor | None, ...]:
        value, d1, d2, d3 = derivatives(a, 3)
        square = _dot(first, first)
        curved = d2 * square
        if second is not None:
            curved.addcmul_(d1, second)
        ctx.save_for_backward(first, second, d1, d2, d3, square)
        ctx.set_materialize_grads(False)
        return value, d1, d1 * first if needs_first else None, curved

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        g_value, g_slope, g_first, g_second = grads
        first, second, d1, d2, d3, square = ctx.saved_tensors
        # Sums grow in place, in a tensor that this function made.
        bend = None if g_first is None else _dot(g_first, first)
        if g_second is not None and second is not None:
            bend = _plus(bend, g_second, second)
        if g_slope is not None:
            bend = g_slope if bend is None else bend.add_(g_slope)
        g_a = None if bend is None else bend * d2
        if g_value is not None:
            g_a = _plus(g_a, g_value, d1)
        if g_second is not None:
            g_a = _plus(g_a, g_second * square, d3)
        g_j = None
        if ctx.needs_input_grad[1]:
            shared = first.shape[1] != d1.shape[0]
            if g_first is not None:
                g_j = g_first * d1
                g_j = g_j.sum(1, keepdim=True) if shared else g_j
            if g_second is not None:
                twice = (g_second * d2).mul_(2)
                g_j = _plus(g_j, first, twice.sum(0) if shared else twice)
        return g_a, g_j, None if second is None or g_second is None else g_second * d1, None, None


def _plus(total: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """total + a·b, added in place to an existing total."""
    return a * b if total is None else total.addcmul_(a, b)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ_k a_k b_k over the directions: [K, B, n], [K, B or 1, n] → [B, n]. For few terms products beat a reduction."""
    if a.shape[0] > 8:
        return (a * b).sum(0)
    total = a[0] * b[0]
    for k in range(1, a.shape[0]):
        total.addcmul_(a[k], b[k])
    return total
