"""The memory of a Laplacian: its directions and points in blocks.

The forward Laplacian of B points in D dimensions carries D·B tangents through every layer, and under grad mode the
graph holds all of them: 180 GB for 128 colour images of 32 × 32 and the default energy=conv. Here they go through in
blocks that stay below `BLOCK` numbers; where the graphs of all blocks together would hold more than `GRAPH` numbers, a
block keeps none and is computed again in the backward pass (Chen, Xu, Zhang & Guestrin 2016, "Training deep nets with
sublinear memory cost"). The result is that of one block, up to rounding.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

BLOCK = 2**24
"""Numbers that the graph of one block may hold: 64 MiB in float32."""
GRAPH = 2**28
"""Numbers that the graphs of all blocks may hold together: 1 GiB in float32. Above, blocks are computed twice."""
N_DIRECTIONS = 16
"""Directions below which a block takes fewer points instead: the value, which every block computes, is one more."""
NEGLIGIBLE = BLOCK // 64
"""D·K·B, numbers in the tangents of the points, below which it is not worth asking what a graph holds."""

Along = Callable[[Tensor, Tensor], Tensor]
"""Points [B, *D] and directions [K, 1, *D] → summed curvature [B]."""


def in_blocks(energy: nn.Module, along: Along, x: Tensor, v: Tensor) -> Tensor | None:
    """What `along` gives for x and v, block by block; None where one block holds it all.

    A weight that is computed anew in every training pass (spectral normalisation) is the same in all blocks, and moves
    once.

    Args:
        energy: what `along` differentiates, by rules.
        along: the derivatives of a block.
        x: points [B, *D].
        v: directions [K, 1, *D].
    """
    each = _held_by_each(energy, along, x, v)
    total = each * len(x) * len(v)
    if total <= BLOCK:
        return None
    if energy.training:
        with torch.no_grad():
            energy(x[:1])
    # One context for all: what a block is computed again with must be what it was computed with.
    still = Still(energy)
    block = along if total <= GRAPH or not torch.is_grad_enabled() else _computed_twice(along, still)
    n_directions = min(len(v), max(N_DIRECTIONS, BLOCK // (each * len(x))))
    n_points = min(len(x), max(1, BLOCK // (each * n_directions)))
    with still:
        each_points = [
            torch.stack([block(points, directions) for directions in v.split(n_directions)]).sum(0)
            for points in x.split(n_points)
        ]
    return torch.cat(each_points)


def one_block(energy: nn.Module, along: Along, x: Tensor, v: Tensor) -> bool:
    """Whether one block holds it all, so that `in_blocks` would give None."""
    return _held_by_each(energy, along, x, v) * len(x) * len(v) <= BLOCK


def _held_by_each(energy: nn.Module, along: Along, x: Tensor, v: Tensor) -> int:
    """How many numbers the graph holds for each point and direction; 0 where that is not worth asking."""
    if len(v) * x.numel() <= NEGLIGIBLE:
        return 0
    with Still(energy):
        return _held(along, x, v, 2) - _held(along, x, v, 1)


class Still(AbstractContextManager[None]):
    """Inside, a module is in eval mode and its buffers are what they were when this was made."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._then = [buffer.clone() for buffer in module.buffers()]

    def __enter__(self) -> None:
        self._training = self._module.training
        self._now = [buffer.clone() for buffer in self._module.buffers()]
        self._module.eval()
        self._put(self._then)

    def __exit__(self, *_: object) -> None:
        self._module.train(self._training)
        self._put(self._now)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for buffer, value in zip(self._module.buffers(), values, strict=True):
            buffer.copy_(value)


def _computed_twice(along: Along, still: Still) -> Along:
    """The same, with a graph that holds nothing: the backward pass computes it again."""

    def block(x: Tensor, v: Tensor) -> Tensor:
        found: Tensor = checkpoint(
            along,
            x,
            v,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: (nullcontext(), still),
        )
        return found

    return block


def _held(along: Along, x: Tensor, v: Tensor, n: int) -> int:
    """How many numbers the graph of one point and n directions holds."""
    held = 0

    def count(saved: Tensor) -> Tensor:
        nonlocal held
        held += saved.numel()
        return saved

    with torch.enable_grad(), saved_tensors_hooks(count, lambda saved: saved):
        along(x[:1], v[:n].detach().requires_grad_())
    return held
