"""Layer rules: how value, gradient, and second-order directional derivatives pass through a network.

One sweep over the layers carries, from input to output, a `Jet`: the value h, K directional derivatives J_k = ∂h·v_k,
and the sum of second derivatives L = Σ_k v_kᵀ∇²h v_k,

    linear       h ← W h + b     J ← W J       L ← W L
    elementwise  h ← σ(h)        J ← σ'(h) J   L ← σ'(h) L + σ''(h) Σ_k J_k²

and returns with it the way back: a function that maps ∂f/∂(output) to ∂f/∂(input), which gives ∇f. With v the basis of
R^D the last L is the exact Laplacian (Li et al. 2023, "Forward Laplacian", arXiv:2307.08214); with random directions it
is the vᵀ∇²f v of sliced score matching; with no directions (K = 0) the sweep is a value and a gradient, which is what a
chain needs. Under grad mode everything is differentiable in the parameters, so one backward pass trains through all of
it.

A module of our own takes part by deriving from `Differentiable`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ebm_cli.derivatives.activations import Tower, tower_of

Pullback = Callable[[Tensor], Tensor]


class Jet(NamedTuple):
    """Second-order Taylor coefficients along K directions.

    Shapes: value [B, n]; first [K, B, n] or [K, 1, n] where it is the same for the whole batch, None for K = 0; second
    [B, n], None for 0.
    """

    value: Tensor
    first: Tensor | None = None
    second: Tensor | None = None


class Differentiable(ABC):
    """A module that knows its own rule; each of its children must have one too."""

    @abstractmethod
    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """The jet of the output, and the map from a cotangent of the output to the cotangent of the input."""


def supports(module: object) -> bool:
    """Whether every part of the module has a rule. Hooks could change what a layer computes: with one it has none."""
    if not isinstance(module, nn.Module) or module._forward_hooks or module._forward_pre_hooks:
        return False
    kind = type(module)
    if kind in _KNOWN or tower_of(module) is not None:
        return kind is nn.Linear or all(supports(child) for child in module.children())
    if isinstance(module, Differentiable):
        return all(supports(child) for child in module.children())
    return parametrize.is_parametrized(module) and parametrize.type_before_parametrizations(module) is nn.Linear


_KNOWN = (nn.Linear, nn.Sequential)


def sweep(module: nn.Module, jet: Jet) -> tuple[Jet, Pullback]:
    """Carry a jet through a module; the rule of a type is found here, or in the module itself."""
    if isinstance(module, nn.Linear):
        return _linear(module, jet)
    if isinstance(module, nn.Sequential):
        return _sequential(module, jet)
    if isinstance(module, Differentiable):
        return module.sweep(jet)
    return _elementwise(module, jet)


def _linear(module: nn.Linear, jet: Jet) -> tuple[Jet, Pullback]:
    weight = module.weight
    value = F.linear(jet.value, weight, module.bias)
    first = None if jet.first is None else F.linear(jet.first, weight)
    second = None if jet.second is None else F.linear(jet.second, weight)
    return Jet(value, first, second), lambda g: g @ weight


def _sequential(module: nn.Sequential, jet: Jet) -> tuple[Jet, Pullback]:
    pullbacks = []
    for child in module:
        jet, pullback = sweep(child, jet)
        pullbacks.append(pullback)

    def through_all(g: Tensor) -> Tensor:
        for pullback in reversed(pullbacks):
            g = pullback(g)
        return g

    return jet, through_all


def _elementwise(module: nn.Module, jet: Jet) -> tuple[Jet, Pullback]:
    tower = tower_of(module)
    if tower is None:
        raise TypeError(f"no derivative rule for {type(module).__name__}; ask supports() first")
    if jet.first is not None:
        out = _ElementwiseJet.apply(jet.value, jet.first, jet.second, tower)  # type: ignore[no-untyped-call]
        value, slope, first, second = out
        return Jet(value, first, second), lambda g: g * slope
    if torch.is_grad_enabled():
        value, slope = _ValueAndSlope.apply(jet.value, tower)  # type: ignore[no-untyped-call]
    else:
        value, slope = tower(jet.value, 1)
    return Jet(value), lambda g: g * slope


class _ValueAndSlope(torch.autograd.Function):
    """a → (σ(a), σ'(a)), differentiable once more: the backward pass needs σ'' only."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, tower: Tower) -> tuple[Tensor, Tensor]:
        value, first, second = tower(a, 2)
        ctx.save_for_backward(first, second)
        return value, first

    @staticmethod
    def backward(ctx: Any, g_value: Tensor, g_slope: Tensor) -> tuple[Tensor, None]:
        first, second = ctx.saved_tensors
        return torch.addcmul(g_value * first, g_slope, second), None


class _ElementwiseJet(torch.autograd.Function):
    """The elementwise rule, and the slope for the way back, with the backward pass in closed form; S = Σ_k J_k²:

    ∂h = g_h σ' + g_σ' σ'' + σ'' Σ_k g_Jk J_k + g_L (σ'' L + σ''' S);   ∂J_k = σ' g_Jk + 2 σ'' J_k g_L;   ∂L = σ' g_L
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, first: Tensor, second: Tensor | None, tower: Tower) -> tuple[Tensor, ...]:
        value, d1, d2, d3 = tower(a, 3)
        square = _dot(first, first)
        curved = d2 * square
        if second is not None:
            curved.addcmul_(d1, second)
        ctx.save_for_backward(first, second, d1, d2, d3, square)
        ctx.set_materialize_grads(False)
        return value, d1, d1 * first, curved

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        g_value, g_slope, g_first, g_second = grads
        first, second, d1, d2, d3, square = ctx.saved_tensors
        # What multiplies σ'', then what multiplies σ' and σ'''.
        bend = None
        if g_first is not None:
            bend = _dot(g_first, first)
        if g_slope is not None:
            bend = g_slope if bend is None else bend.add_(g_slope)
        g_a = torch.zeros_like(d1) if g_value is None else g_value * d1
        g_l = None
        if g_second is not None:
            g_a.addcmul_(g_second * square, d3)
            if second is not None:
                bend = g_second * second if bend is None else torch.addcmul(bend, g_second, second)
                g_l = g_second * d1
        if bend is not None:
            g_a.addcmul_(bend, d2)
        g_j = None
        if ctx.needs_input_grad[1]:
            g_j = torch.zeros_like(first).expand(first.shape[0], *d1.shape) if g_first is None else g_first * d1
            if g_second is not None:
                g_j = torch.addcmul(g_j, first, 2 * d2 * g_second)
            if first.shape[1] != d1.shape[0]:
                g_j = g_j.sum(1, keepdim=True)
        return g_a, g_j, g_l, None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ_k a_k b_k over the directions: [K, B, n], [K, B or 1, n] → [B, n]. Few terms: products beat a reduction."""
    if a.shape[0] > 8:
        return (a * b).sum(0)
    total = a[0] * b[0]
    for k in range(1, a.shape[0]):
        total.addcmul_(a[k], b[k])
    return total
