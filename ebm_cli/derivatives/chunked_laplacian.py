"""The memory of a Laplacian: its directions and points in chunks.

The forward Laplacian of B points in D dimensions carries D·B tangents through every layer, and under grad mode the
graph holds all of them: 180 GB for 128 colour images of 32 × 32 and the default energy=conv. Here they pass through in
chunks whose graphs stay within a `Budget`; where the graphs of all chunks together would exceed it, a chunk keeps none
and is computed again in the backward pass (Chen, Xu, Zhang & Guestrin 2016, "Training deep nets with sublinear memory
cost"). The result is that of a single chunk, up to rounding.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

Curvature = Callable[[Tensor, Tensor], Tensor]
"""Points [B, *D] and directions [K, 1, *D] → summed second derivatives [B]."""


@dataclass(frozen=True)
class Budget:
    """Limits of memory, in numbers that graphs hold.

    Attributes:
        chunk: of the graph of one chunk; 2²⁴ are 64 MiB in float32.
        graph: of the graphs of all chunks together; 2²⁸ are 1 GiB in float32. Beyond it chunks are computed twice.
        n_directions: directions below which a chunk takes fewer points instead: each chunk computes the value as well,
            which costs as much as one direction.
        negligible: D·K·B, numbers in the tangents of the points, up to which the graph is not measured.
    """

    chunk: int = 2**24
    graph: int = 2**28
    n_directions: int = 16
    negligible: int = 2**18


BUDGET = Budget()


def chunked(energy: nn.Module, curvature: Curvature, x: Tensor, v: Tensor, budget: Budget = BUDGET) -> Tensor | None:
    """curvature(x, v), chunk by chunk; None where one chunk holds it all.

    A weight that is computed anew in every training pass (spectral normalisation) is the same in all chunks, and is
    updated once.

    Args:
        energy: the module that `curvature` differentiates, by rules.
        curvature: the second derivatives of a chunk.
        x: points [B, *D].
        v: directions [K, 1, *D].
        budget: limits of memory.
    """
    each = _numbers_per_direction(energy, curvature, x, v, budget)
    total = each * len(x) * len(v)
    if total <= budget.chunk:
        return None
    if energy.training:
        with torch.no_grad():
            energy(x[:1])
    # One context for all chunks, also for those that are computed again: they must see the same buffers.
    frozen = FrozenBuffers(energy)
    of_chunk = curvature if total <= budget.graph or not torch.is_grad_enabled() else _computed_twice(curvature, frozen)
    n_directions = min(len(v), max(budget.n_directions, budget.chunk // (each * len(x))))
    n_points = min(len(x), max(1, budget.chunk // (each * n_directions)))
    with frozen:
        of_points = [
            torch.stack([of_chunk(points, directions) for directions in v.split(n_directions)]).sum(0)
            for points in x.split(n_points)
        ]
    return torch.cat(of_points)


def fits_one_chunk(energy: nn.Module, curvature: Curvature, x: Tensor, v: Tensor, budget: Budget = BUDGET) -> bool:
    """True if one chunk holds it all, so that `chunked` would return None."""
    return _numbers_per_direction(energy, curvature, x, v, budget) * len(x) * len(v) <= budget.chunk


def _numbers_per_direction(energy: nn.Module, curvature: Curvature, x: Tensor, v: Tensor, budget: Budget) -> int:
    """The numbers that the graph holds for each point and direction; 0 where they are too few to be measured."""
    if len(v) * x.numel() <= budget.negligible:
        return 0
    with FrozenBuffers(energy):
        return saved_numbers(curvature, x, v, 2) - saved_numbers(curvature, x, v, 1)


class FrozenBuffers(AbstractContextManager[None]):
    """Inside, a module is in eval mode and its buffers have the values that they had when this object was made."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._frozen = [buffer.clone() for buffer in module.buffers()]

    def __enter__(self) -> None:
        self._training = self._module.training
        self._outside = [buffer.clone() for buffer in self._module.buffers()]
        self._module.eval()
        self._write(self._frozen)

    def __exit__(self, *_: object) -> None:
        self._module.train(self._training)
        self._write(self._outside)

    @torch.no_grad()
    def _write(self, values: list[Tensor]) -> None:
        for buffer, value in zip(self._module.buffers(), values, strict=True):
            buffer.copy_(value)


def _computed_twice(curvature: Curvature, frozen: FrozenBuffers) -> Curvature:
    """The same, with a graph that holds nothing: the backward pass computes it again."""

    def of_chunk(x: Tensor, v: Tensor) -> Tensor:
        found: Tensor = checkpoint(
            curvature,
            x,
            v,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: (nullcontext(), frozen),
        )
        return found

    return of_chunk


def saved_numbers(curvature: Curvature, x: Tensor, v: Tensor, n: int) -> int:
    """The numbers that the graph of one point and n directions holds."""
    total = 0

    def count(saved: Tensor) -> Tensor:
        nonlocal total
        total += saved.numel()
        return saved

    with torch.enable_grad(), saved_tensors_hooks(count, lambda saved: saved):
        curvature(x[:1], v[:n].detach().requires_grad_())
    return total
