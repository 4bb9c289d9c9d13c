"""The Laplacian in blocks is the Laplacian: values, gradients in the parameters, spectral norms, and what it holds."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ebm_cli.derivatives import chunked_laplacian, directional, gradient, laplacian
from ebm_cli.energies import MLP, Conv, NetworkEnergy, ResNet

SHAPE = (2, 4, 3)
MAKE: dict[str, Callable[[], NetworkEnergy]] = {
    "conv": lambda: Conv(SHAPE, width=3, depth=2),
    "resnet": lambda: ResNet(SHAPE, width=3, depth=1),
    "bounded": lambda: ResNet(SHAPE, width=3, depth=2, spectral_norm=True),
    "wide_mlp": lambda: MLP(SHAPE, width=30),
    "narrow_mlp": lambda: MLP(SHAPE, width=6),
}


def make(kind: str) -> NetworkEnergy:
    """In float64, in training, its weights shaken: the power method has not converged."""
    torch.manual_seed(0)
    energy = MAKE[kind]().double().train()
    with torch.no_grad():
        for p in energy.parameters():
            p.add_(torch.randn_like(p), alpha=0.2)
    return energy


def small(monkeypatch: pytest.MonkeyPatch, *, recompute: bool, directions: int = 5, block: int = 10_000) -> None:
    """Budgets that the small networks of these tests exceed; by default blocks of 5 directions, all points in each."""
    monkeypatch.setattr(chunked_laplacian, "NEGLIGIBLE", 0)
    monkeypatch.setattr(chunked_laplacian, "BLOCK", block)
    monkeypatch.setattr(chunked_laplacian, "GRAPH", 0 if recompute else 2**28)
    monkeypatch.setattr(chunked_laplacian, "N_DIRECTIONS", directions)


def trained(energy: NetworkEnergy, x: Tensor) -> list[Tensor]:
    """∇f, the Laplacian, and a random functional's gradient of both in the parameters."""
    grad, trace = laplacian(energy, x)
    g = torch.Generator().manual_seed(1)
    loss = (grad * torch.randn(grad.shape, generator=g, dtype=x.dtype)).sum()
    loss = loss + (trace * torch.randn(trace.shape, generator=g, dtype=x.dtype)).sum()
    return [
        grad,
        trace,
        *torch.autograd.grad(loss, list(energy.parameters()), materialize_grads=True, allow_unused=True),
    ]


@pytest.mark.parametrize("block", [10, 10_000], ids=["one point a block", "all points in each"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", MAKE)
def test_blocks_change_nothing(kind: str, recompute: bool, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    energy, other = make(kind), make(kind)
    x = torch.randn(4, *SHAPE).double()
    whole = trained(energy, x)
    small(monkeypatch, recompute=recompute, block=block)
    for a, b in zip(trained(other, x), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    # The vectors of the power method moved once, as they do in one block.
    for u, v in zip(energy.buffers(), other.buffers(), strict=True):
        assert torch.equal(u, v)
    assert energy.training
    assert other.training


def test_the_power_method_would_be_seen() -> None:
    """The control of the test above: a second pass in training has other weights."""
    energy = make("bounded")
    x = torch.randn(4, *SHAPE).double()
    first, second = laplacian(energy, x)[1], laplacian(energy, x)[1]
    assert (first - second).abs().max() > 1e-6


def test_a_block_is_computed_again_with_the_weights_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the power method moved between the forward and the backward pass."""
    energy, other = make("bounded"), make("bounded")
    x = torch.randn(4, *SHAPE).double()
    expected = torch.autograd.grad(laplacian(energy, x)[1].sum(), list(energy.parameters()), allow_unused=True)
    small(monkeypatch, recompute=True)
    trace = laplacian(other, x)[1]
    other(x)
    moved = [b.clone() for b in other.buffers()]
    found = torch.autograd.grad(trace.sum(), list(other.parameters()), allow_unused=True)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert all(map(torch.equal, moved, other.buffers()))


def test_blocks_that_are_computed_twice_hold_almost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the gradient, whose graph knows no directions."""
    energy = make("conv")
    x = torch.randn(4, *SHAPE).double()

    def held(derivative: Callable[[NetworkEnergy, Tensor], object]) -> int:
        numbers = 0

        def count(saved: Tensor) -> Tensor:
            nonlocal numbers
            numbers += saved.numel()
            return saved

        with saved_tensors_hooks(count, lambda saved: saved):
            derivative(energy, x)
        return numbers

    whole, alone = held(laplacian), held(gradient)
    small(monkeypatch, recompute=False)
    assert held(laplacian) - alone > 0.9 * whole
    small(monkeypatch, recompute=True)
    assert held(laplacian) - alone < 0.1 * whole


@pytest.mark.parametrize("kind", ["conv", "wide_mlp"])
def test_a_block_holds_what_it_may(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points and directions of a block, times what one of each adds to the graph, stay below the budget."""
    energy = make(kind)
    x = torch.randn(64, *SHAPE).double()
    sizes: list[tuple[int, int]] = []

    def recorded(points: Tensor, directions: Tensor) -> Tensor:
        sizes.append((len(points), len(directions)))
        return directional(energy, points, directions)[0].curvature

    v = torch.eye(24).double().view(24, 1, *SHAPE)
    each = chunked_laplacian._held(recorded, x, v, 2) - chunked_laplacian._held(recorded, x, v, 1)
    small(monkeypatch, recompute=False, directions=3, block=each * 40)
    sizes.clear()
    assert chunked_laplacian.in_blocks(energy, recorded, x, v) is not None
    points_and_directions = [size for size in sizes if size[0] > 1]
    assert max(b * k for b, k in points_and_directions) <= 40
    assert sum(b * k for b, k in points_and_directions) == 64 * 24


def test_a_small_laplacian_is_one_block() -> None:
    energy = make("conv")
    x = torch.randn(4, *SHAPE).double()
    v = torch.eye(24).double().view(24, 1, *SHAPE)

    def never(points: Tensor, directions: Tensor) -> Tensor:
        raise AssertionError("nothing is measured where little is at stake")

    assert chunked_laplacian.in_blocks(energy, never, x, v) is None
