"""The gradient of an energy in x: of points of a chain, without a graph, or differentiable in the parameters."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ebm_cli.derivatives.compiled import Outputs, Sweep, run
from ebm_cli.derivatives.jet import At
from ebm_cli.derivatives.rules import supports, vjp

EnergyFn = Callable[[Tensor], Tensor]
"""x [B, *D] → energy [B], nats; p ∝ exp(−energy)."""

MANY, ROWS = 4096, 2048
"""Points of a chain from which on a CPU takes them in blocks, and those of a block: its activations stay in cache, and
in memory that need not be asked for anew."""


def value_and_grad(energy: EnergyFn, x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and ∇f(x), both detached: what a chain needs.

    Shapes: x [B, *D] → [B], [B, *D].  Cost: one forward and one backward pass.
    """
    found = _detached(_value_and_grad_by_rules, energy, x)
    if found is not None:
        return found
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = energy(x)
        (grad,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), grad


def detached_gradient(energy: EnergyFn, x: Tensor) -> Tensor:
    """∇f(x) alone, as `value_and_grad` has it: what a chain that corrects nothing needs.

    Shapes: x [B, *D] → [B, *D].  Cost: one forward pass, without its last layer, and one backward pass.
    """
    found = _detached(gradient_by_rules, energy, x)
    return value_and_grad(energy, x)[1] if found is None else found[0]


def gradient(energy: EnergyFn, x: Tensor) -> Tensor:
    """∇f(x), differentiable in the parameters: what a loss of the score needs.

    Shapes: x [B, *D] → [B, *D].  Cost: one forward and one backward pass, and their backward.
    """
    energy = bare(energy)
    if isinstance(energy, nn.Module) and supports(energy):
        return run(gradient_by_rules, energy, x)[0]
    x = x.detach().requires_grad_(True)
    (grad,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
    return grad


class Prepared:
    """An energy for a chain: rules are looked up, and weights laid out for their products, once.

    Args:
        energy: with rules. Once a weight of it changes, its derivatives are those of neither the old nor the new one.
    """

    def __init__(self, energy: nn.Module) -> None:
        self.energy = energy
        with torch.no_grad():
            self.at = vjp(energy)

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self.energy(x)
        return found


def prepared(energy: EnergyFn) -> EnergyFn:
    """The same function, with quicker gradients, to be used until a weight changes.

    Itself where there is nothing to gain, or where a call must go to the energy itself: without rules, compiled, with
    weights that change when they are read.
    """
    if not isinstance(energy, nn.Module) or getattr(energy, "compiled", None) is not None:
        return energy
    return Prepared(energy) if supports(energy) and not _at_once(energy) else energy


def bare(energy: EnergyFn) -> EnergyFn:
    """What was prepared."""
    return energy.energy if isinstance(energy, Prepared) else energy


def _detached(function: Sweep[Outputs], energy: EnergyFn, x: Tensor) -> Outputs | None:
    """function(energy, x) without a graph, many points in blocks; None for an energy without rules."""
    if torch.is_grad_enabled():
        with torch.no_grad():
            return _detached(function, energy, x)
    if not isinstance(energy, Prepared):
        if not isinstance(energy, nn.Module) or not supports(energy):
            return None
        compiled = getattr(energy, "compiled", None)
        if compiled is not None and compiled.takes(x):
            made: Outputs = compiled(function, energy, x)
            return made
        if len(x) > MANY and _at_once(energy):
            return function(energy, x)
    if len(x) <= MANY or x.device.type != "cpu":
        return function(energy, x)
    # Not compiled: which number of points a block has is not what a call was made with.
    parts = [function(energy, rows) for rows in x.split(ROWS)]
    joined: Any = tuple(map(torch.cat, zip(*parts, strict=True)))
    return cast(Outputs, joined)


def _at_once(energy: nn.Module) -> bool:
    """Whether a call is one sweep of all its points.

    It is where the energy says so, and where a weight changes when it is read (spectral normalisation in training).
    """
    if getattr(energy, "at_once", False):
        return True
    return energy.training and any(parametrize.is_parametrized(module) for module in energy.modules())


# --- by rules: functions of a module and tensors, all of whose outputs are needed -------------------------------------


def _value_and_grad_by_rules(energy: nn.Module | Prepared, x: Tensor) -> tuple[Tensor, Tensor]:
    value_of, pullback = _at(energy)(x)
    return value_of(), pullback(x.new_ones(1))


def gradient_by_rules(energy: nn.Module | Prepared, x: Tensor) -> tuple[Tensor]:
    """∇f of an energy with rules [B, *D], alone in a tuple."""
    _, pullback = _at(energy)(x)
    return (pullback(x.new_ones(1)),)


def _at(energy: nn.Module | Prepared) -> At:
    return energy.at if isinstance(energy, Prepared) else vjp(energy)
