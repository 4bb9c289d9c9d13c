"""The gradient of an energy in x: detached, for the points of a chain, or differentiable in the parameters."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ebm_cli.derivatives.compiled import Outputs, SweepFn, run_sweep
from ebm_cli.derivatives.jet import VjpFn
from ebm_cli.derivatives.rules import supports, vjp

EnergyFn = Callable[[Tensor], Tensor]
"""x [B, *D] → energy [B], nats; p ∝ exp(−energy)."""

MAX_ROWS, CHUNK_ROWS = 4096, 2048
"""Points of a chain above which the CPU takes them in chunks, and the points of a chunk: its activations stay in cache,
and in memory that need not be requested from the system anew."""


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
    """∇f(x) alone, the same as of `value_and_grad`: what a chain without a Metropolis correction needs.

    Shapes: x [B, *D] → [B, *D].  Cost: one forward pass, without its last layer, and one backward pass.
    """
    found = _detached(gradient_by_rules, energy, x)
    return value_and_grad(energy, x)[1] if found is None else found[0]


def gradient(energy: EnergyFn, x: Tensor) -> Tensor:
    """∇f(x), differentiable in the parameters: what a loss of the score needs.

    Shapes: x [B, *D] → [B, *D].  Cost: one forward and one backward pass, and their backward.
    """
    energy = unwrap(energy)
    if isinstance(energy, nn.Module) and supports(energy):
        return run_sweep(gradient_by_rules, energy, x)[0]
    x = x.detach().requires_grad_(True)
    (grad,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
    return grad


class PreparedEnergy:
    """An energy for a chain: its rules are looked up, and its weights laid out for their products, once.

    Args:
        energy: with rules. Once one of its weights changes, derivatives mix old and new weights: prepare it again.
    """

    def __init__(self, energy: nn.Module) -> None:
        self.energy = energy
        with torch.no_grad():
            self.vjp = vjp(energy)

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self.energy(x)
        return found


def prepare(energy: EnergyFn) -> EnergyFn:
    """The same function with faster gradients, valid until a weight changes.

    The energy itself is returned where there is nothing to gain or every call must read it: an energy without rules, a
    compiled one, and one whose weights change when they are read.
    """
    if not isinstance(energy, nn.Module) or getattr(energy, "compiled", None) is not None:
        return energy
    return PreparedEnergy(energy) if supports(energy) and not _needs_whole_batch(energy) else energy


def unwrap(energy: EnergyFn) -> EnergyFn:
    """The energy that `prepare` was given."""
    return energy.energy if isinstance(energy, PreparedEnergy) else energy


def _detached(function: SweepFn[Outputs], energy: EnergyFn, x: Tensor) -> Outputs | None:
    """function(energy, x) without a graph, many points in chunks; None for an energy without rules."""
    if torch.is_grad_enabled():
        with torch.no_grad():
            return _detached(function, energy, x)
    if not isinstance(energy, PreparedEnergy):
        if not isinstance(energy, nn.Module) or not supports(energy):
            return None
        compiled = getattr(energy, "compiled", None)
        if compiled is not None and compiled.matches(x):
            found: Outputs = compiled(function, energy, x)
            return found
        if len(x) > MAX_ROWS and _needs_whole_batch(energy):
            return function(energy, x)
    if len(x) <= MAX_ROWS or x.device.type != "cpu":
        return function(energy, x)
    # Chunks are never compiled: their number of points is not that of the call.
    parts = [function(energy, rows) for rows in x.split(CHUNK_ROWS)]
    joined: Any = tuple(map(torch.cat, zip(*parts, strict=True)))
    return cast(Outputs, joined)


def _needs_whole_batch(energy: nn.Module) -> bool:
    """True if a call must be one sweep of all its points.

    It must if the energy says so, or if a weight changes when it is read (spectral normalisation in training).
    """
    if getattr(energy, "needs_whole_batch", False):
        return True
    return energy.training and any(parametrize.is_parametrized(module) for module in energy.modules())


# --- by rules: functions of a module and tensors, all of whose outputs are needed -------------------------------------


def _value_and_grad_by_rules(energy: nn.Module | PreparedEnergy, x: Tensor) -> tuple[Tensor, Tensor]:
    value_of, pullback = _vjp_of(energy)(x)
    return value_of(), pullback(x.new_ones(1))


def gradient_by_rules(energy: nn.Module | PreparedEnergy, x: Tensor) -> tuple[Tensor]:
    """∇f of an energy with rules [B, *D], as a tuple of one."""
    _, pullback = _vjp_of(energy)(x)
    return (pullback(x.new_ones(1)),)


def _vjp_of(energy: nn.Module | PreparedEnergy) -> VjpFn:
    return energy.vjp if isinstance(energy, PreparedEnergy) else vjp(energy)
