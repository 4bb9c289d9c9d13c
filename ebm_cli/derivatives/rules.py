"""Layer rules: how value, gradient and second-order directional derivatives pass through a network.

One sweep over the layers carries, from input to output, a `Jet`: the value h, K directional derivatives J_k = ∂h·v_k,
and the sum of second derivatives L = Σ_k v_kᵀ∇²h v_k,

    linear       h ← W h + b     J ← W J       L ← W L
    elementwise  h ← σ(h)        J ← σ'(h) J   L ← σ'(h) L + σ''(h) Σ_k J_k²

(convolutions and average pooling are linear too). It returns the output's jet and a pullback, which maps
∂f/∂(output) to ∂f/∂(input) and so gives ∇f. With v the basis of R^D the last L is the exact Laplacian (Li et al. 2023,
"Forward Laplacian", arXiv:2307.08214); with random directions it is the vᵀ∇²f v of sliced score matching. Without
directions (K = 0) there are a value and a pullback, which is what a chain needs: `vjp` is that sweep, with less to do.

Under grad mode everything is differentiable in the parameters, so that one backward pass trains through all of it. A
weight is read once a sweep: one that is computed (spectral normalisation) may change from read to read.

A pullback may be called once: without grad mode it overwrites what the forward pass has kept. Its cotangent is [B, *n],
or [1, *n] where it is the same for the whole batch.

The rules of torch's layers are in `linear` and `elementwise`; a module of this package has its own by deriving from
`Differentiable`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ebm_cli.derivatives import linear
from ebm_cli.derivatives.elementwise import elementwise, elementwise_vjp, has_closed_form
from ebm_cli.derivatives.jet import (
    DelayedValue,
    Differentiable,
    Jet,
    Pullback,
    ValueAndPullback,
    VjpFn,
    without_directions,
)
from ebm_cli.system.torch_internals import has_hooks


def supports(module: object) -> bool:
    """True if every part of the module has a rule. A layer with a hook, which could change what it does, has none."""
    if not isinstance(module, nn.Module) or has_hooks(module):
        return False
    rule = _find_rule(module)
    return rule is not None and rule.applies(module)


def sweep(module: nn.Module, jet: Jet) -> tuple[Jet, Pullback]:
    """Carry a jet through a module, by the rule of its type or by its own.

    Raises:
        TypeError: a module without a rule (see `supports`).
    """
    return _require_rule(module).sweep(module, jet)


def vjp(module: nn.Module) -> VjpFn:
    """The sweep of jets without directions, with rules and weights looked up: x → output at x, and pullback.

    It is valid until a weight or the structure of the module changes: for a training step, or for a chain.

    Raises:
        TypeError: a module without a rule (see `supports`).
    """
    rule = _require_rule(module)
    return without_directions(partial(rule.sweep, module)) if rule.vjp is None else rule.vjp(module)


class _Rule(NamedTuple):
    """Derivative rule of a type of module.

    Attributes:
        sweep: carries a jet through a module of this type.
        applies: whether the rule is right for a module's settings.
        is_nonlinear: whether the output may be curved in the input.
        vjp: the rule for jets without directions, where it has less to do.
    """

    sweep: Callable[[Any, Jet], tuple[Jet, Pullback]]
    applies: Callable[[Any], bool] = lambda module: True
    is_nonlinear: bool = False
    vjp: Callable[[Any], VjpFn] | None = None


def _find_rule(module: nn.Module) -> _Rule | None:
    """The module's rule; a parametrised layer (its weight is computed from another) keeps that of the plain layer."""
    rule = _RULES.get(type(module))
    if rule is not None:
        return rule
    if isinstance(module, Differentiable):
        return _OWN
    return _RULES.get(parametrize.type_before_parametrizations(module))


def _require_rule(module: nn.Module) -> _Rule:
    rule = _find_rule(module)
    if rule is None:
        raise TypeError(f"no derivative rule for {type(module).__name__}; ask supports() first")
    return rule


def _sequential(module: nn.Sequential, jet: Jet) -> tuple[Jet, Pullback]:
    pullbacks: list[Pullback] = []
    # Where `first` is not wanted at the end, only what precedes the last nonlinear layer has to give it.
    last = len(module) if jet.needs_first else max([-1, *(i for i, child in enumerate(module) if _is_nonlinear(child))])
    for i, child in enumerate(module):
        needs = i < last
        given = jet if jet.needs_first == needs else Jet(jet.value, jet.first, jet.second, needs)
        jet, pullback = sweep(child, given)
        pullbacks.append(pullback)
    return jet, _in_reverse(pullbacks)


def _sequential_vjp(module: nn.Sequential) -> VjpFn:
    children = [vjp(child) for child in module]

    def at(x: Tensor) -> ValueAndPullback:
        pullbacks: list[Pullback] = []
        value: DelayedValue = partial(_identity, x)
        for child in children:
            # The value of the last child is computed only if the caller asks for it.
            value, pullback = child(value())
            pullbacks.append(pullback)
        return value, _in_reverse(pullbacks)

    return at


def _identity(x: Tensor) -> Tensor:
    return x


def _in_reverse(pullbacks: list[Pullback]) -> Pullback:
    """The composition of pullbacks, the last one first."""

    def through_all(g: Tensor) -> Tensor:
        for pullback in reversed(pullbacks):
            g = pullback(g)
        return g

    return through_all


def _is_nonlinear(module: nn.Module) -> bool:
    rule = _find_rule(module)
    return rule is not None and rule.is_nonlinear


def _supports_children(module: nn.Module) -> bool:
    return all(map(supports, module.children()))


def _supports_ruled_children(module: Differentiable) -> bool:
    return all(map(supports, module.ruled_children()))


_ELEMENTWISE = _Rule(elementwise, has_closed_form, is_nonlinear=True, vjp=elementwise_vjp)
_LINEAR = _Rule(linear.linear, vjp=linear.linear_vjp)
_SEQUENTIAL = _Rule(_sequential, _supports_children, is_nonlinear=True, vjp=_sequential_vjp)
_OWN = _Rule(
    lambda module, jet: module.sweep(jet), _supports_ruled_children, is_nonlinear=True, vjp=lambda module: module.vjp()
)
_RULES: dict[type, _Rule] = {
    **dict.fromkeys((nn.Linear, linear.Linear), _LINEAR),
    nn.Conv2d: _Rule(linear.conv2d, lambda m: m.padding_mode == "zeros" and not isinstance(m.padding, str)),
    nn.AvgPool2d: _Rule(linear.avg_pool2d),
    nn.Flatten: _Rule(linear.flatten, lambda m: (m.start_dim, m.end_dim) == (1, -1)),
    nn.Unflatten: _Rule(linear.unflatten, lambda m: m.dim == 1 and all(isinstance(n, int) for n in m.unflattened_size)),
    **dict.fromkeys((nn.Sequential, nn.ModuleList), _SEQUENTIAL),
    **dict.fromkeys((nn.SiLU, nn.Softplus, nn.Tanh, nn.GELU), _ELEMENTWISE),
}
