"""The Laplacian in chunks equals the Laplacian: values, gradients in the parameters, spectral norms, and its memory."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ebm_cli.derivatives import directional, gradient, laplacian
from ebm_cli.derivatives.chunked_laplacian import BUDGET, Budget, chunked, saved_numbers
from ebm_cli.energies import MLP, Conv, NetworkEnergy, ResNet
from tests.support import seeded

SHAPE = (2, 4, 3)
ENERGIES: dict[str, Callable[[], NetworkEnergy]] = {
    "conv": lambda: Conv(SHAPE, width=3, depth=2),
    "resnet": lambda: ResNet(SHAPE, width=3, depth=1),
    "bounded": lambda: ResNet(SHAPE, width=3, depth=2, spectral_norm=True),
    "wide_mlp": lambda: MLP(SHAPE, width=30),
    "narrow_mlp": lambda: MLP(SHAPE, width=6),
}


def make(kind: str) -> NetworkEnergy:
    """An energy in float64, in training mode, with perturbed weights: its power method has not converged."""
    torch.manual_seed(0)
    energy = ENERGIES[kind]().double().train()
    with torch.no_grad():
        for p in energy.parameters():
            p.add_(torch.randn_like(p), alpha=0.2)
    return energy


def small(*, recompute: bool, directions: int = 5, chunk: int = 10_000) -> Budget:
    """A budget that these small networks exceed; by default chunks of 5 directions, all points in each."""
    return Budget(chunk, 0 if recompute else 2**28, directions, negligible=0)


def derivatives(energy: NetworkEnergy, x: Tensor, budget: Budget) -> list[Tensor]:
    """∇f, the Laplacian, and the gradient of a random functional of both in the parameters."""
    grad, trace = laplacian(energy, x, budget)
    rng = seeded(1)
    loss = (grad * torch.randn(grad.shape, generator=rng, dtype=x.dtype)).sum()
    loss = loss + (trace * torch.randn(trace.shape, generator=rng, dtype=x.dtype)).sum()
    return [
        grad,
        trace,
        *torch.autograd.grad(loss, list(energy.parameters()), materialize_grads=True, allow_unused=True),
    ]


@pytest.mark.parametrize("chunk", [10, 10_000], ids=["one point a chunk", "all points in each"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", ENERGIES)
def test_chunks_change_no_derivative(kind: str, recompute: bool, chunk: int) -> None:
    energy, other = make(kind), make(kind)
    x = torch.randn(4, *SHAPE).double()
    whole = derivatives(energy, x, BUDGET)
    for a, b in zip(derivatives(other, x, small(recompute=recompute, chunk=chunk)), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    # The vectors of the power method were updated once, as they are with a single chunk.
    for u, v in zip(energy.buffers(), other.buffers(), strict=True):
        assert torch.equal(u, v)
    assert energy.training
    assert other.training


def test_second_pass_in_training_has_other_weights() -> None:
    """Negative control of the test above: an update of the power method changes the Laplacian."""
    energy = make("bounded")
    x = torch.randn(4, *SHAPE).double()
    first, second = laplacian(energy, x)[1], laplacian(energy, x)[1]
    assert (first - second).abs().max() > 1e-6


def test_chunk_is_recomputed_with_the_weights_that_it_had() -> None:
    """Although the power method was updated between the forward and the backward pass."""
    energy, other = make("bounded"), make("bounded")
    x = torch.randn(4, *SHAPE).double()
    expected = torch.autograd.grad(laplacian(energy, x)[1].sum(), list(energy.parameters()), allow_unused=True)
    trace = laplacian(other, x, small(recompute=True))[1]
    other(x)
    updated = [b.clone() for b in other.buffers()]
    found = torch.autograd.grad(trace.sum(), list(other.parameters()), allow_unused=True)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert all(map(torch.equal, updated, other.buffers()))


def test_recomputed_chunks_hold_almost_nothing() -> None:
    """Apart from the gradient, whose graph has no directions."""
    energy = make("conv")
    x = torch.randn(4, *SHAPE).double()

    def held(derivative: Callable[[], object]) -> int:
        numbers = 0

        def count(saved: Tensor) -> Tensor:
            nonlocal numbers
            numbers += saved.numel()
            return saved

        with saved_tensors_hooks(count, lambda saved: saved):
            derivative()
        return numbers

    whole, alone = held(lambda: laplacian(energy, x)), held(lambda: gradient(energy, x))
    assert held(lambda: laplacian(energy, x, small(recompute=False))) - alone > 0.9 * whole
    assert held(lambda: laplacian(energy, x, small(recompute=True))) - alone < 0.1 * whole


@pytest.mark.parametrize("kind", ["conv", "wide_mlp"])
def test_chunks_stay_within_the_budget(kind: str) -> None:
    """Points × directions of a chunk, times the numbers that one of each adds to the graph."""
    energy = make(kind)
    x = torch.randn(64, *SHAPE).double()
    sizes: list[tuple[int, int]] = []

    def recorded(points: Tensor, directions: Tensor) -> Tensor:
        sizes.append((len(points), len(directions)))
        return directional(energy, points, directions)[0].curvature

    v = torch.eye(24).double().view(24, 1, *SHAPE)
    each = saved_numbers(recorded, x, v, 2) - saved_numbers(recorded, x, v, 1)
    sizes.clear()
    assert chunked(energy, recorded, x, v, small(recompute=False, directions=3, chunk=each * 40)) is not None
    points_and_directions = [size for size in sizes if size[0] > 1]
    assert max(b * k for b, k in points_and_directions) <= 40
    assert sum(b * k for b, k in points_and_directions) == 64 * 24


def test_small_laplacian_is_one_chunk_without_a_measurement() -> None:
    energy = make("conv")
    x = torch.randn(4, *SHAPE).double()
    v = torch.eye(24).double().view(24, 1, *SHAPE)

    def never(points: Tensor, directions: Tensor) -> Tensor:
        raise AssertionError("the graph of so few numbers is not measured")

    assert chunked(energy, never, x, v) is None
