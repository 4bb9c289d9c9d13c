"""Checks of the energies: known values, central differences in float64, rules against autograd, float32 against both.

Weights are perturbed first, because an energy can be simpler at its initial weights than after training.
"""

import copy
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from ebm_cli.derivatives import directional, laplacian, supports, value_and_grad
from ebm_cli.energies import Energy, Tilted
from ebm_cli.errors import UserError
from ebm_cli.samplers import EnergyFn
from ebm_cli.selftest.closed_forms import sum_facts, tilted_facts, value_facts
from ebm_cli.selftest.harness import Check, Fact, Harness, Skip
from ebm_cli.selftest.tolerances import (
    DIFFERENCE,
    RELATIVE,
    gradient_fact,
    integral,
    mass_bound,
    random_directions,
    relative_error,
)

SHAPES: tuple[tuple[int, ...], ...] = ((2,), (1, 4, 4), (1, 28, 28))
"""Shapes of a point, a vector and two images; an energy is checked on the first that it accepts."""
WIDE = (160,)
"""Shape of a point with more dimensions than the first layer of a small network has units."""
N_POINTS = 16
PERTURBATION = 0.05
"""Standard deviation of the noise on the weights."""
EQUAL = 1e-9
"""Bound of the relative error between two ways to compute the same number in float64."""
FLOAT32 = 1e-3
"""Bound of the relative error of float32, of which second derivatives lose the most."""


def derivative_checks(harness: Harness) -> Iterator[Check]:
    """A check for each option of the group `energy`."""
    for name in harness.options("energy"):
        yield Check(name, partial(_option_facts, harness, name))
        if name == "sum":  # its option needs checkpoints of the user
            yield Check("sum of two", partial(sum_facts, harness))


def _option_facts(harness: Harness, name: str) -> Iterator[Fact | Skip]:
    rng = harness.rng(f"derivatives/{name}")
    energy = perturbed_energy(harness, name)
    x = torch.randn(N_POINTS, *energy.shape, generator=rng, dtype=torch.float64)
    yield gradient_fact(energy, x, rng, "gradient")
    yield _curvature_fact(energy, x, rng)
    yield _laplacian_fact(energy, x)
    yield from _rules_facts(harness, name, energy, x)
    yield Fact("float32", error_on(torch.device("cpu"), torch.float32, energy, x), FLOAT32, "relative")
    yield from _log_z_facts(energy, x)
    yield from value_facts(energy, x)
    if isinstance(energy, Tilted):
        yield from tilted_facts(harness, name)


def perturbed_energy(harness: Harness, name: str, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> Energy:
    """The energy on the first shape that it accepts, with perturbed weights, in float64 on the CPU."""
    for shape in shapes[:-1]:
        try:
            return _perturbed(harness, name, shape)
        except UserError:
            continue
    return _perturbed(harness, name, shapes[-1])


def _perturbed(harness: Harness, name: str, shape: tuple[int, ...]) -> Energy:
    energy: Energy = harness.build("energy", name, Energy, shape=shape).double().eval()
    rng = harness.rng(f"energy/{name}/shake")
    with torch.no_grad():
        for parameter in energy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype), alpha=PERTURBATION)
    return energy


def error_on(device: torch.device, dtype: torch.dtype, energy: Energy, x: Tensor) -> float:
    """The largest relative error of value, gradient and Laplacian on a device, against those on the energy's own."""
    pairs = ((copy.deepcopy(energy).to(device, dtype), x.to(device, dtype)), (energy, x))
    found, expected = ((*value_and_grad(one, rows), laplacian(one, rows)[1]) for one, rows in pairs)
    return max(relative_error(a, b) for a, b in zip(found, expected, strict=True))


def _curvature_fact(energy: Energy, x: Tensor, rng: torch.Generator) -> Fact:
    v = random_directions(x, rng)
    (_, curvature), _ = directional(energy, x, v[None])
    expected = (_hessian_product(energy, x, v) * v).flatten(1).sum(1)
    return Fact("second derivative", relative_error(curvature, expected, 0.9), RELATIVE, "relative")


def _laplacian_fact(energy: Energy, x: Tensor) -> Fact:
    expected = torch.zeros(len(x), dtype=x.dtype)
    for k in range(x[0].numel()):
        along = torch.zeros_like(x)
        along.flatten(1)[:, k] = 1.0
        expected += _hessian_product(energy, x, along).flatten(1)[:, k]
    return Fact("Laplacian", relative_error(laplacian(energy, x)[1], expected, 0.9), RELATIVE, "relative")


def _hessian_product(energy: Energy, x: Tensor, v: Tensor) -> Tensor:
    """∇²f v by central differences of the gradient, [B, *D]."""
    ahead, behind = (value_and_grad(energy, x + step * v)[1] for step in (DIFFERENCE, -DIFFERENCE))
    return (ahead - behind) / (2 * DIFFERENCE)


def _rules_facts(harness: Harness, name: str, energy: Energy, x: Tensor) -> Iterator[Fact | Skip]:
    """The rules of `derivatives.rules` against autograd, which differentiates any callable that is not a module."""
    if not supports(energy):
        yield Skip("rules against autograd", "the energy has no rules and is differentiated by autograd alone")
        return
    yield Fact("rules against autograd", _disagreement(energy, x), EQUAL, "relative")
    try:
        energy = perturbed_energy(harness, name, (WIDE,))
    except UserError:
        return
    x = torch.randn(2, *WIDE, generator=harness.rng(f"derivatives/{name}/wide"), dtype=x.dtype)
    yield Fact(f"the same in {WIDE[0]} dimensions", _disagreement(energy, x), EQUAL, "relative")


def _disagreement(energy: Energy, x: Tensor) -> float:
    by_rules, by_autograd = (
        _score_matching_terms(energy, function, x) for function in (energy, lambda rows: energy(rows))
    )
    return max(relative_error(a, b) for a, b in zip(by_rules, by_autograd, strict=True))


def _score_matching_terms(energy: Energy, function: EnergyFn, x: Tensor) -> list[Tensor]:
    """∇f, the Laplacian, and the gradient in θ of the score-matching loss mean(½‖∇f‖² − Δf)."""
    grad, trace = laplacian(function, x)
    loss = (0.5 * grad.flatten(1).square().sum(1) - trace).mean()
    in_parameters = torch.autograd.grad(loss, list(energy.parameters()), allow_unused=True, materialize_grads=True)
    return [grad.detach(), trace.detach(), *in_parameters]


def _log_z_facts(energy: Energy, x: Tensor) -> Iterator[Fact]:
    """The closed-form log Z of an energy, in the one or two dimensions in which a quadrature can confirm it."""
    closed = energy.log_z()
    if closed is not None and x[0].numel() <= 2:
        exact = integral(energy, x)
        yield Fact("log Z", abs(float(closed.detach()) - exact.log_z), mass_bound(exact), "nats")
