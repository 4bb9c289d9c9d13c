"""Every energy's derivatives: against central differences in float64, by rules against autograd, float32 against both.

Weights are shaken first, so that no energy is checked at a start where it is something simpler.
"""

import copy
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from ebm_cli.derivatives import directional, laplacian, supports, value_and_grad
from ebm_cli.energies import Energy
from ebm_cli.errors import UserError
from ebm_cli.samplers import EnergyFn
from ebm_cli.selftest.harness import Bench, Check, Fact, Skip
from ebm_cli.selftest.tolerances import (
    DIFFERENCE,
    RELATIVE,
    directions_like,
    gradient_fact,
    integral,
    mass_bound,
    relative_error,
)

SHAPES: tuple[tuple[int, ...], ...] = ((2,), (1, 4, 4), (1, 28, 28))
"""Shapes of a point, of which an energy is checked on the first that it takes: a plain point, images."""
WIDE = (160,)
"""More dimensions than a small network's first layer is wide."""
N_POINTS = 16
SHAKE = 0.05
SAME = 1e-9
"""Bound of a relative error between two ways of computing the same in float64."""
SINGLE = 1e-3
"""Bound of a relative error of float32; second derivatives lose the most."""


def checks(bench: Bench) -> Iterator[Check]:
    """A check for each option of the group `energy`."""
    for name in bench.options("energy"):
        yield Check(name, partial(_facts, bench, name))


def _facts(bench: Bench, name: str) -> Iterator[Fact | Skip]:
    rng = bench.rng(f"derivatives/{name}")
    energy = any_energy(bench, name)
    x = torch.randn(N_POINTS, *energy.shape, generator=rng, dtype=torch.float64)
    yield gradient_fact(energy, x, rng, "gradient")
    yield _curvature_fact(energy, x, rng)
    yield _laplacian_fact(energy, x)
    yield from _rules_facts(bench, name, energy, x)
    yield Fact("float32", error_on(torch.device("cpu"), torch.float32, energy, x), SINGLE, "relative")
    yield from _log_z_facts(energy, x)


def any_energy(bench: Bench, name: str, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> Energy:
    """The energy on the first shape that it takes, shaken, in float64 on the CPU."""
    for shape in shapes[:-1]:
        try:
            return _shaken(bench, name, shape)
        except UserError:
            continue
    return _shaken(bench, name, shapes[-1])


def _shaken(bench: Bench, name: str, shape: tuple[int, ...]) -> Energy:
    energy: Energy = bench.build("energy", name, Energy, shape=shape).double().eval()
    rng = bench.rng(f"energy/{name}/shake")
    with torch.no_grad():
        for parameter in energy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype), alpha=SHAKE)
    return energy


def error_on(device: torch.device, dtype: torch.dtype, energy: Energy, x: Tensor) -> float:
    """The relative error of value, gradient and Laplacian there against here; the largest of the three."""
    pairs = ((copy.deepcopy(energy).to(device, dtype), x.to(device, dtype)), (energy, x))
    found, expected = ((*value_and_grad(one, rows), laplacian(one, rows)[1]) for one, rows in pairs)
    return max(relative_error(a, b) for a, b in zip(found, expected, strict=True))


def _curvature_fact(energy: Energy, x: Tensor, rng: torch.Generator) -> Fact:
    v = directions_like(x, rng)
    (_, curvature), _ = directional(energy, x, v[None])
    expected = (_bend(energy, x, v) * v).flatten(1).sum(1)
    return Fact("second derivative", relative_error(curvature, expected, 0.9), RELATIVE, "relative")


def _laplacian_fact(energy: Energy, x: Tensor) -> Fact:
    expected = torch.zeros(len(x), dtype=x.dtype)
    for k in range(x[0].numel()):
        along = torch.zeros_like(x)
        along.flatten(1)[:, k] = 1.0
        expected += _bend(energy, x, along).flatten(1)[:, k]
    return Fact("Laplacian", relative_error(laplacian(energy, x)[1], expected, 0.9), RELATIVE, "relative")


def _bend(energy: Energy, x: Tensor, v: Tensor) -> Tensor:
    """∇²f v by central differences of the gradient, [B, *D]."""
    ahead, behind = (value_and_grad(energy, x + step * v)[1] for step in (DIFFERENCE, -DIFFERENCE))
    return (ahead - behind) / (2 * DIFFERENCE)


def _rules_facts(bench: Bench, name: str, energy: Energy, x: Tensor) -> Iterator[Fact | Skip]:
    """The rules of `derivatives.rules` against autograd, which a callable that is no module goes through."""
    if not supports(energy):
        yield Skip("rules against autograd", "it has no rules, so it is differentiated by autograd alone")
        return
    yield Fact("rules against autograd", _disagreement(energy, x), SAME, "relative")
    try:
        energy = any_energy(bench, name, (WIDE,))
    except UserError:
        return
    x = torch.randn(2, *WIDE, generator=bench.rng(f"derivatives/{name}/wide"), dtype=x.dtype)
    yield Fact(f"the same in {WIDE[0]} dimensions", _disagreement(energy, x), SAME, "relative")


def _disagreement(energy: Energy, x: Tensor) -> float:
    by_rules, by_autograd = (_trained(energy, function, x) for function in (energy, lambda rows: energy(rows)))
    return max(relative_error(a, b) for a, b in zip(by_rules, by_autograd, strict=True))


def _trained(energy: Energy, function: EnergyFn, x: Tensor) -> list[Tensor]:
    """∇f, the Laplacian, and the gradient in θ of the score-matching loss mean(½‖∇f‖² − Δf)."""
    grad, trace = laplacian(function, x)
    loss = (0.5 * grad.flatten(1).square().sum(1) - trace).mean()
    in_parameters = torch.autograd.grad(loss, list(energy.parameters()), allow_unused=True, materialize_grads=True)
    return [grad.detach(), trace.detach(), *in_parameters]


def _log_z_facts(energy: Energy, x: Tensor) -> Iterator[Fact]:
    """Its own log Z, where it has one and a quadrature can be had."""
    closed = energy.log_z()
    if closed is not None and x[0].numel() <= 2:
        law = integral(energy, x)
        yield Fact("log Z", abs(float(closed.detach()) - law.log_z), mass_bound(law), "nats")
