"""Layer rules: how value, gradient, and second-order directional derivatives pass through a network.

One sweep over the layers carries, from input to output, a `Jet`: the value h, K directional derivatives J_k = ∂h·v_k,
and the sum of second derivatives L = Σ_k v_kᵀ∇²h v_k,

    linear       h ← W h + b     J ← W J       L ← W L
    elementwise  h ← σ(h)        J ← σ'(h) J   L ← σ'(h) L + σ''(h) Σ_k J_k²

(convolutions and average pooling are linear too) and returns with it the way back: a function that maps ∂f/∂(output)
to ∂f/∂(input), which gives ∇f. With v the basis of R^D the last L is the exact Laplacian (Li et al. 2023, "Forward
Laplacian", arXiv:2307.08214); with random directions it is the vᵀ∇²f v of sliced score matching; with no directions
(K = 0) the sweep is a value and a gradient, which is what a chain needs. Under grad mode everything is differentiable
in the parameters, so one backward pass trains through all of it. A weight is read once a sweep: one that is computed
(spectral normalisation) may change from read to read.

The way back may be taken once: without grad mode it writes over what the way forth kept. Its cotangent is [B, *n], or
[1, *n] where it is the same for the whole batch.

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
from ebm_cli.derivatives.products import product

Pullback = Callable[[Tensor], Tensor]


class Jet(NamedTuple):
    """Second-order Taylor coefficients along K directions.

    Shapes: value [B, *n]; first [K, B, *n] or [K, 1, *n] where it is the same for the whole batch, None for K = 0;
    second [B, *n], None for 0.

    Of a jet that goes into a module, `slopes` says whether the first of what comes out is wanted. Where it is not, the
    last layer that bends saves most of its work, and what comes out may hold None.
    """

    value: Tensor
    first: Tensor | None = None
    second: Tensor | None = None
    slopes: bool = True


class Differentiable(ABC):
    """A module that knows its own rule; each of its children must have one too."""

    @abstractmethod
    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """The jet of the output, and the map from a cotangent of the output to the cotangent of the input."""


def supports(module: object) -> bool:
    """Whether every part of the module has a rule. Hooks could change what a layer computes: with one it has none."""
    if not isinstance(module, nn.Module) or module._forward_hooks or module._forward_pre_hooks:
        return False
    rule = _rule(module)
    return rule is not None and rule.holds(module)


def sweep(module: nn.Module, jet: Jet) -> tuple[Jet, Pullback]:
    """Carry a jet through a module; the rule of a type is found here, or in the module itself."""
    rule = _rule(module)
    if rule is None:
        raise TypeError(f"no derivative rule for {type(module).__name__}; ask supports() first")
    return rule.sweep(module, jet)


class _Rule(NamedTuple):
    """How a module carries a jet, for which of its settings that is right, and whether it bends what is straight."""

    sweep: Callable[[Any, Jet], tuple[Jet, Pullback]]
    holds: Callable[[Any], bool] = lambda module: True
    bends: bool = False


def _rule(module: nn.Module) -> _Rule | None:
    """The module's rule; a parametrised layer (its weight is computed from another) is still the layer that it was."""
    rule = _RULES.get(type(module))
    if rule is not None:
        return rule
    if isinstance(module, Differentiable):
        return _OWN
    return _RULES.get(parametrize.type_before_parametrizations(module))


def _sequential(module: nn.Sequential, jet: Jet) -> tuple[Jet, Pullback]:
    pullbacks = []
    # Where no slopes are wanted at the end, only what lies before the last layer that bends has to give them.
    last = len(module) if jet.slopes else max([-1, *(i for i, child in enumerate(module) if _bends(child))])
    for i, child in enumerate(module):
        wanted = jet if jet.slopes == (i < last) else Jet(jet.value, jet.first, jet.second, slopes=i < last)
        jet, pullback = sweep(child, wanted)
        pullbacks.append(pullback)

    def through_all(g: Tensor) -> Tensor:
        for pullback in reversed(pullbacks):
            g = pullback(g)
        return g

    return jet, through_all


def _bends(module: nn.Module) -> bool:
    rule = _rule(module)
    return rule is not None and rule.bends


# --- linear layers ----------------------------------------------------------------------------------------------------


THIN = 16
"""Columns of a weight below which its products, forth and back, take up to six times as long as its transpose's."""


class WideLinear(nn.Linear):
    """A linear layer whose product is that of the faster library."""

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.weight, self.bias)


class ThinLinear(nn.Linear):
    """A linear layer of few inputs: x Wᵀ + b by the transposed weight, whose gradient is xᵀg then and not gᵀx."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight.t().contiguous()) if x.ndim == 2 else super().forward(x)


def linear(n_in: int, n_out: int) -> nn.Linear:
    """A linear layer in whichever form is faster."""
    return ThinLinear(n_in, n_out) if 1 < n_in < THIN else WideLinear(n_in, n_out)


def _linear(module: nn.Linear, jet: Jet) -> tuple[Jet, Pullback]:
    weight, bias = module.weight, module.bias
    if 1 < weight.shape[1] < THIN:
        return _thin(weight.t().contiguous(), bias, jet)
    if torch.compiler.is_compiling() and jet.first is not None and jet.first.shape[1] == len(jet.value):
        return _stacked(weight, bias, jet), lambda g: product(g, weight.t())
    value = product(jet.value, weight, bias)
    first = product(jet.first, weight) if jet.first is not None and jet.slopes else None
    second = None if jet.second is None else product(jet.second, weight)
    return Jet(value, first, second), lambda g: product(g, weight.t())


def _stacked(weight: Tensor, bias: Tensor | None, jet: Jet) -> Jet:
    """One product of all parts: the compiler writes them into the stack, where eager code would have to copy them."""
    parts = [jet.value.unsqueeze(0), jet.first if jet.slopes else None]
    parts.append(None if jet.second is None else jet.second.unsqueeze(0))
    out = product(torch.cat([part for part in parts if part is not None]), weight)
    first = out[1:] if jet.second is None else out[1:-1]
    return Jet(
        out[0] if bias is None else out[0] + bias,
        first if jet.slopes else None,
        None if jet.second is None else out[-1],
    )


def _thin(weight: Tensor, bias: Tensor | None, jet: Jet) -> tuple[Jet, Pullback]:
    """The same for the transposed weight [n_in, n_out]."""
    x = jet.value
    value = torch.addmm(bias, x, weight) if bias is not None and x.ndim == 2 else F.linear(x, weight.t(), bias)
    first = jet.first @ weight if jet.first is not None and jet.slopes else None
    second = None if jet.second is None else jet.second @ weight
    return Jet(value, first, second), lambda g: F.linear(g, weight)


def _conv2d(module: nn.Conv2d, jet: Jet) -> tuple[Jet, Pullback]:
    """Three convolutions; one on the stacked jet is no faster, because stacking copies the largest part.

    The way back is the transposed convolution; `output_padding` gives back the rows and columns that the stride skips
    at the far edge.
    """
    weight, sizes = module.weight, jet.value.shape[2:]
    stride, padding, dilation = (_pair(setting) for setting in (module.stride, module.padding, module.dilation))

    def convolve(x: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv2d(x, weight, bias, stride, padding, dilation, module.groups)

    axes = zip(sizes, padding, dilation, weight.shape[2:], stride, strict=True)
    skipped = [(size + 2 * p - d * (k - 1) - 1) % s for size, p, d, k, s in axes]

    def pullback(g: Tensor) -> Tensor:
        return F.conv_transpose2d(g, weight, None, stride, padding, skipped, module.groups, dilation)

    return _linear_jet(convolve(jet.value, module.bias), convolve, jet), pullback


def _avg_pool2d(module: nn.AvgPool2d, jet: Jet) -> tuple[Jet, Pullback]:
    x = jet.value
    size, stride, padding = (_pair(setting) for setting in (module.kernel_size, module.stride, module.padding))
    rest = module.ceil_mode, module.count_include_pad, module.divisor_override

    def pullback(g: Tensor) -> Tensor:
        back: Tensor = torch.ops.aten.avg_pool2d_backward(g, x[: len(g)], size, stride, padding, *rest)
        return back

    return _linear_jet(module(x), module, jet), pullback


def _linear_jet(value: Tensor, linear: Callable[[Tensor], Tensor], jet: Jet) -> Jet:
    """The jet behind a linear map of images, which takes directions as more of a batch."""
    first = None
    if jet.first is not None and jet.slopes:
        first = linear(jet.first.flatten(0, 1)).unflatten(0, jet.first.shape[:2])
    return Jet(value, first, None if jet.second is None else linear(jet.second))


def _flatten(module: nn.Flatten, jet: Jet) -> tuple[Jet, Pullback]:
    return _reshaped(jet, jet.value.shape[1:].numel())


def _unflatten(module: nn.Unflatten, jet: Jet) -> tuple[Jet, Pullback]:
    return _reshaped(jet, *module.unflattened_size)


def _reshaped(jet: Jet, *shape: int) -> tuple[Jet, Pullback]:
    before = jet.value.shape
    first = None if jet.first is None else jet.first.reshape(*jet.first.shape[:2], *shape)
    second = None if jet.second is None else jet.second.reshape(before[0], *shape)
    return Jet(jet.value.reshape(before[0], *shape), first, second), lambda g: g.reshape(-1, *before[1:])


def _pair(setting: Any) -> list[int]:
    return [setting, setting] if isinstance(setting, int) else list(setting)


# --- activations ------------------------------------------------------------------------------------------------------


def _elementwise(module: nn.Module, jet: Jet) -> tuple[Jet, Pullback]:
    tower = tower_of(module)
    assert tower is not None
    if jet.first is not None:
        out = _ElementwiseJet.apply(jet.value, jet.first, jet.second, tower, jet.slopes)  # type: ignore[no-untyped-call]
        value, slope, first, second = out
        return Jet(value, first, second), lambda g: g * slope
    if torch.is_grad_enabled():
        value, slope = _ValueAndSlope.apply(jet.value, tower)  # type: ignore[no-untyped-call]
        return Jet(value), lambda g: g * slope
    value, slope = tower(jet.value, 1)
    return Jet(value), slope.mul_


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

    ∂h = g_h σ' + (g_σ' + Σ_k g_Jk J_k + g_L L) σ'' + g_L S σ⁽³⁾;   ∂J_k = σ' g_Jk + 2 σ'' J_k g_L;   ∂L = σ' g_L
    """

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, first: Tensor, second: Tensor | None, tower: Tower, slopes: bool
    ) -> tuple[Tensor | None, ...]:
        value, d1, d2, d3 = tower(a, 3)
        square = _dot(first, first)
        curved = d2 * square
        if second is not None:
            curved.addcmul_(d1, second)
        ctx.save_for_backward(first, second, d1, d2, d3, square)
        ctx.set_materialize_grads(False)
        return value, d1, d1 * first if slopes else None, curved

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        g_value, g_slope, g_first, g_second = grads
        first, second, d1, d2, d3, square = ctx.saved_tensors
        # Sums grow in place, in a tensor that is this function's own.
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
    """total + a·b, in total where there is one."""
    return a * b if total is None else total.addcmul_(a, b)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ_k a_k b_k over the directions: [K, B, n], [K, B or 1, n] → [B, n]. Few terms: products beat a reduction."""
    if a.shape[0] > 8:
        return (a * b).sum(0)
    total = a[0] * b[0]
    for k in range(1, a.shape[0]):
        total.addcmul_(a[k], b[k])
    return total


# --- which module has which rule --------------------------------------------------------------------------------------


def _has_a_tower(module: nn.Module) -> bool:
    return tower_of(module) is not None


def _all_supported(module: nn.Module) -> bool:
    return all(map(supports, module.children()))


_ELEMENTWISE = _Rule(_elementwise, _has_a_tower, bends=True)
_OWN = _Rule(lambda module, jet: module.sweep(jet), _all_supported, bends=True)
_RULES: dict[type, _Rule] = {
    nn.Linear: _Rule(_linear),
    ThinLinear: _Rule(_linear),
    WideLinear: _Rule(_linear),
    nn.Conv2d: _Rule(_conv2d, lambda m: m.padding_mode == "zeros" and not isinstance(m.padding, str)),
    nn.AvgPool2d: _Rule(_avg_pool2d),
    nn.Flatten: _Rule(_flatten, lambda m: (m.start_dim, m.end_dim) == (1, -1)),
    nn.Unflatten: _Rule(_unflatten, lambda m: m.dim == 1 and all(isinstance(n, int) for n in m.unflattened_size)),
    nn.Sequential: _Rule(_sequential, _all_supported, bends=True),
    nn.ModuleList: _Rule(_sequential, _all_supported, bends=True),
    **dict.fromkeys((nn.SiLU, nn.Softplus, nn.Tanh, nn.GELU), _ELEMENTWISE),
}
