"""Layer rules: how value, gradient, and second-order directional derivatives pass through a network.

One sweep over the layers carries, from input to output, a `Jet`: the value h, K directional derivatives J_k = ∂h·v_k,
and the sum of second derivatives L = Σ_k v_kᵀ∇²h v_k,

    linear       h ← W h + b     J ← W J       L ← W L
    elementwise  h ← σ(h)        J ← σ'(h) J   L ← σ'(h) L + σ''(h) Σ_k J_k²

(convolutions and average pooling are linear too) and returns with it the way back: a function that maps ∂f/∂(output)
to ∂f/∂(input), which gives ∇f. With v the basis of R^D the last L is the exact Laplacian (Li et al. 2023, "Forward
Laplacian", arXiv:2307.08214); with random directions it is the vᵀ∇²f v of sliced score matching. With no
directions (K = 0) there is a value and a way back, which is what a chain needs: `vjp` is that sweep, with less around
it. Under grad mode everything is differentiable in the parameters, so one backward pass trains through all of it. A
weight is read once a sweep: one that is computed (spectral normalisation) may change from read to read.

The way back may be taken once: without grad mode it writes over what the way forth kept. Its cotangent is [B, *n], or
[1, *n] where it is the same for the whole batch.

A module of our own takes part by deriving from `Differentiable`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ebm_cli.derivatives import linear
from ebm_cli.derivatives.elementwise import elementwise, elementwise_vjp, has_a_tower
from ebm_cli.derivatives.jet import At, Differentiable, Jet, Pullback, There, Value, without_directions
from ebm_cli.system.torch_internals import has_hooks


def supports(module: object) -> bool:
    """Whether every part of the module has a rule. Hooks could change what a layer computes: with one it has none."""
    if not isinstance(module, nn.Module) or has_hooks(module):
        return False
    rule = _rule(module)
    return rule is not None and rule.holds(module)


def sweep(module: nn.Module, jet: Jet) -> tuple[Jet, Pullback]:
    """Carry a jet through a module; the rule of a type is found here, or in the module itself."""
    return _known(module).sweep(module, jet)


def vjp(module: nn.Module) -> At:
    """The sweep of a jet without directions, with rules and weights looked up: x → the output there, and the way back.

    It holds while the module is what it is: for a step, or for a chain.
    """
    rule = _known(module)
    return without_directions(partial(rule.sweep, module)) if rule.vjp is None else rule.vjp(module)


class _Rule(NamedTuple):
    """How a module carries a jet, for which of its settings that is right, and whether it bends what is straight.

    `vjp` is the rule for no directions, where it has less to do.
    """

    sweep: Callable[[Any, Jet], tuple[Jet, Pullback]]
    holds: Callable[[Any], bool] = lambda module: True
    bends: bool = False
    vjp: Callable[[Any], At] | None = None


def _rule(module: nn.Module) -> _Rule | None:
    """The module's rule; a parametrised layer (its weight is computed from another) is still the layer that it was."""
    rule = _RULES.get(type(module))
    if rule is not None:
        return rule
    if isinstance(module, Differentiable):
        return _OWN
    return _RULES.get(parametrize.type_before_parametrizations(module))


def _known(module: nn.Module) -> _Rule:
    rule = _rule(module)
    if rule is None:
        raise TypeError(f"no derivative rule for {type(module).__name__}; ask supports() first")
    return rule


def _sequential(module: nn.Sequential, jet: Jet) -> tuple[Jet, Pullback]:
    pullbacks: list[Pullback] = []
    # Where no slopes are wanted at the end, only what lies before the last layer that bends has to give them.
    last = len(module) if jet.slopes else max([-1, *(i for i, child in enumerate(module) if _bends(child))])
    for i, child in enumerate(module):
        wanted = jet if jet.slopes == (i < last) else Jet(jet.value, jet.first, jet.second, slopes=i < last)
        jet, pullback = sweep(child, wanted)
        pullbacks.append(pullback)
    return jet, _through_all(pullbacks)


def _sequential_vjp(module: nn.Sequential) -> At:
    children = [vjp(child) for child in module]

    def at(x: Tensor) -> There:
        pullbacks: list[Pullback] = []
        value: Value = partial(_same, x)
        for child in children:
            # Of the last child only the caller asks for the value.
            value, pullback = child(value())
            pullbacks.append(pullback)
        return value, _through_all(pullbacks)

    return at


def _same(x: Tensor) -> Tensor:
    return x


def _through_all(pullbacks: list[Pullback]) -> Pullback:
    def through_all(g: Tensor) -> Tensor:
        for pullback in reversed(pullbacks):
            g = pullback(g)
        return g

    return through_all


def _bends(module: nn.Module) -> bool:
    rule = _rule(module)
    return rule is not None and rule.bends


def _all_supported(module: nn.Module) -> bool:
    return all(map(supports, module.children()))


_ELEMENTWISE = _Rule(elementwise, has_a_tower, bends=True, vjp=elementwise_vjp)
_LINEAR = _Rule(linear.linear, vjp=linear.linear_vjp)
_CHAIN = _Rule(_sequential, _all_supported, bends=True, vjp=_sequential_vjp)
_OWN = _Rule(lambda module, jet: module.sweep(jet), _all_supported, bends=True, vjp=lambda module: module.vjp())
_RULES: dict[type, _Rule] = {
    **dict.fromkeys((nn.Linear, linear.Linear), _LINEAR),
    nn.Conv2d: _Rule(linear.conv2d, lambda m: m.padding_mode == "zeros" and not isinstance(m.padding, str)),
    nn.AvgPool2d: _Rule(linear.avg_pool2d),
    nn.Flatten: _Rule(linear.flatten, lambda m: (m.start_dim, m.end_dim) == (1, -1)),
    nn.Unflatten: _Rule(linear.unflatten, lambda m: m.dim == 1 and all(isinstance(n, int) for n in m.unflattened_size)),
    **dict.fromkeys((nn.Sequential, nn.ModuleList), _CHAIN),
    **dict.fromkeys((nn.SiLU, nn.Softplus, nn.Tanh, nn.GELU), _ELEMENTWISE),
}
