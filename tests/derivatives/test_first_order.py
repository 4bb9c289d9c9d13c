"""Gradients in x: detached ones of chains, prepared energies, many points."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ebm_cli.derivatives import (
    Compiled,
    detached_gradient,
    directional,
    first_order,
    gradient,
    laplacian,
    prepare,
    value_and_grad,
)
from ebm_cli.energies import MLP, NetworkEnergy
from ebm_cli.samplers import Info, Kernel, State, run
from ebm_cli.samplers.langevin import Langevin
from tests.support import autograd_only


def test_value_and_grad_leaves_no_graph() -> None:
    energy = MLP((2,), width=4)
    value, grad = value_and_grad(energy, torch.randn(3, 2, requires_grad=True))
    assert not value.requires_grad
    assert not grad.requires_grad


def test_detached_gradient_of_a_function_without_rules() -> None:
    energy, x = MLP((3,), width=8).double(), torch.randn(4, 3).double()
    expected = value_and_grad(energy, x)[1]
    torch.testing.assert_close(detached_gradient(autograd_only(energy), x), expected)
    torch.testing.assert_close(detached_gradient(lambda y: energy(y), x), expected)


def test_prepare_returns_these_energies_themselves() -> None:
    """Without rules, with weights that change whenever they are read, compiled, and no module at all."""
    energy = MLP((2,), width=8)
    assert prepare(energy) is not energy
    weights = spectral_norm(nn.Linear(2, 8))
    bound = NetworkEnergy((2,), nn.Sequential(weights, nn.Tanh(), nn.Linear(8, 1)), 0.1)
    assert prepare(bound) is bound
    assert prepare(bound.eval()) is not bound
    opaque = autograd_only(energy)
    assert prepare(opaque) is opaque
    assert prepare(torch.sum) is torch.sum
    held = prepare(energy)
    assert prepare(held) is held
    energy.compiled = Compiled(4, torch.float32, torch.device("cpu"), print)
    assert prepare(energy) is energy


def test_prepared_energy_has_second_derivatives() -> None:
    energy, x = MLP((3,), width=8).double(), torch.randn(4, 3).double()
    held, v = prepare(energy), torch.randn(2, 4, 3).double()
    (weight,) = torch.autograd.grad(gradient(held, x).sum(), [energy.network[0].weight])
    assert weight.any()
    assert torch.equal(laplacian(held, x)[1], laplacian(energy, x)[1])
    for a, b in zip(directional(held, x, v)[0], directional(energy, x, v)[0], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("size", [2, 20])
def test_chain_uses_the_weights_at_its_start(size: int) -> None:
    energy, start = MLP((size,), width=20).double(), torch.randn(3, size).double()
    ends = []
    for _ in range(2):
        found = run(Langevin(0.1, noise_scale=0.0), energy, start, 1, torch.Generator())[0].x
        torch.testing.assert_close(found, start - 0.1 * value_and_grad(energy, start)[1])
        ends.append(found)
        with torch.no_grad():
            for p in energy.parameters():
                p.copy_(2 * p)
    assert not torch.equal(*ends)


def test_kernel_may_take_gradients_by_autograd() -> None:
    @dataclass(frozen=True)
    class Descent(Kernel):
        def init(self, energy: Any, x: Tensor, rng: torch.Generator) -> State:
            return State(x, None, None, {})

        def step(self, energy: Any, state: State, rng: torch.Generator) -> tuple[State, Info]:
            x = state.x.requires_grad_()
            (grad,) = torch.autograd.grad(energy(x).sum(), x)
            return State((x - self.step_size * grad).detach(), None, None, {}), Info(x.new_ones(len(x)).detach())

    energy, x = MLP((3,), width=8).double(), torch.randn(4, 3).double()
    expected = run(Langevin(0.1, noise_scale=0.0), energy, x, 3, torch.Generator())[0].x
    found = run(Descent(0.1), energy, x, 3, torch.Generator())[0].x
    torch.testing.assert_close(found, expected)


def test_many_points_are_taken_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    energy = MLP((2,), width=16, depth=3).double()
    n, chunk = first_order.MAX_ROWS + 3, first_order.CHUNK_ROWS
    x = torch.randn(n, 2).double()
    whole = [torch.cat(parts) for parts in zip(*(value_and_grad(energy, rows) for rows in x.split(1000)), strict=True)]
    seen: list[int] = []
    by_rules = first_order._value_and_grad_by_rules
    monkeypatch.setattr(
        first_order, "_value_and_grad_by_rules", lambda f, rows: (seen.append(len(rows)), by_rules(f, rows))[1]
    )
    torch.testing.assert_close(value_and_grad(energy, x), tuple(whole), rtol=1e-13, atol=1e-13)
    assert seen == [chunk, chunk, 3]
    # A weight that changes whenever it is read is read once.
    bound = NetworkEnergy((2,), nn.Sequential(spectral_norm(nn.Linear(2, 8)), nn.Tanh(), nn.Linear(8, 1)), 0.1).double()
    seen.clear()
    value_and_grad(bound, x)
    value_and_grad(bound.eval(), x)
    assert seen == [n, chunk, chunk, 3]
