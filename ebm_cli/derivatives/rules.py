"""Layer rules: how value, gradient, and second-order directional derivatives pass through a network.

Two sweeps, each a composition of one rule a layer:

* **pull** (reverse): the value, and a function that maps ∂f/∂(output) to ∂f/∂(input). No autograd graph in x is needed; under
  grad mode the result is differentiable in the parameters, so one backward pass trains through a gradient.
* **push** (forward): a `Jet` carries the value h, K directional derivatives J_k = ∂h·v_k and the sum of second derivatives
  L = Σ_k v_kᵀ∇²h v_k together:

      linear       h ← W h + b     J ← W J       L ← W L
      elementwise  h ← σ(h)        J ← σ'(h) J   L ← σ'(h) L + σ''(h) Σ_k J_k²

  With v the basis of R^D the last L is the exact Laplacian (Li et al. 2023, "Forward Laplacian", arXiv:2307.08214); with
  random directions it is vᵀ∇²f v of sliced score matching. One set of rules serves both.

A module of our own takes part by having `pull` and `push` methods (`Differentiable`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ebm_cli.derivatives.activations import Tower, tower_of

Pullback = Callable[[Tensor], Tensor]


class Jet(NamedTuple):
    """Second-order Taylor coefficients along K directions.

    Shapes: value [B, n]; first [K, B, n] or [K, 1, n] where it is the same for the whole batch; second [B, n], or None for 0.
    """

    value: Tensor
    first: Tensor
    second: Tensor | None


@runtime_checkable
class Differentiable(Protocol):
    """A module that knows its own rules; its children must have rules too."""

    def pull(self, x: Tensor) -> tuple[Tensor, Pullback]: ...

    def push(self, jet: Jet) -> Jet: ...


def supports(module: object) -> bool:
    """Whether every part of the module has a rule. Hooks could change what a layer computes: a module with one has none."""
    if not isinstance(module, nn.Module) or module._forward_hooks or module._forward_pre_hooks:
        return False
    kind = parametrize.type_before_parametrizations(module)
    if kind is nn.Linear or tower_of(module) is not None:
        return True
    if kind is nn.Sequential or isinstance(module, Differentiable):
        return all(supports(child) for child in module.children())
    return False


def pull(module: nn.Module, x: Tensor) -> tuple[Tensor, Pullback]:
    """The module's output at x, and the map from a cotangent of the output to the cotangent of the input."""
    if isinstance(module, nn.Linear):
        return F.linear(x, module.weight, module.bias), lambda g: g @ module.weight
    if isinstance(module, nn.Sequential):
        pullbacks = []
        for child in module:
            x, pullback = pull(child, x)
            pullbacks.append(pullback)

        def through_all(g: Tensor) -> Tensor:
            for pullback in reversed(pullbacks):
                g = pullback(g)
            return g

        return x, through_all
    if isinstance(module, Differentiable):
        return module.pull(x)
    tower = _tower(module)
    if torch.is_grad_enabled():
        value, slope = _ValueAndSlope.apply(x, tower)
    else:
        value, slope = tower(x, 1)
    return value, lambda g: g * slope


def push(module: nn.Module, jet: Jet) -> Jet:
    """The jet of the module's output."""
    if isinstance(module, nn.Linear):
        weight = module.weight
        second = None if jet.second is None else jet.second @ weight.T
        return Jet(F.linear(jet.value, weight, module.bias), jet.first @ weight.T, second)
    if isinstance(module, nn.Sequential):
        for child in module:
            jet = push(child, jet)
        return jet
    if isinstance(module, Differentiable):
        return module.push(jet)
    return Jet(*_ElementwiseJet.apply(jet.value, jet.first, jet.second, _tower(module)))


def _tower(module: nn.Module) -> Tower:
    tower = tower_of(module)
    if tower is None:
        raise TypeError(f"no derivative rule for {type(module).__name__}; ask supports() first")
    return tower


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
    """The elementwise rule with its backward pass in closed form; S = Σ_k J_k²:

    ∂h = g_h σ' + σ'' Σ_k g_Jk J_k + g_L (σ'' L + σ''' S);   ∂J_k = σ' g_Jk + 2 σ'' J_k g_L;   ∂L = σ' g_L
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, first: Tensor, second: Tensor | None, tower: Tower) -> tuple[Tensor, ...]:
        value, d1, d2, d3 = tower(a, 3)
        square = (first * first).sum(0)
        curved = d2 * square
        if second is not None:
            curved.addcmul_(d1, second)
        ctx.save_for_backward(first, second, d1, d2, d3, square)
        return value, d1 * first, curved

    @staticmethod
    def backward(ctx: Any, g_value: Tensor, g_first: Tensor, g_second: Tensor) -> tuple[Tensor | None, ...]:
        first, second, d1, d2, d3, square = ctx.saved_tensors
        bend = d3 * square
        if second is not None:
            bend.addcmul_(d2, second)
        g_a = torch.addcmul(g_value * d1, g_second, bend)
        g_a.addcmul_(d2, (g_first * first).sum(0))
        g_j = None
        if ctx.needs_input_grad[1]:
            g_j = torch.addcmul(g_first * d1, first, 2 * d2 * g_second)
            if first.shape[1] != g_j.shape[1]:
                g_j = g_j.sum(1, keepdim=True)
        g_l = None if second is None else g_second * d1
        return g_a, g_j, g_l, None
