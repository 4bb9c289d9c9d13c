"""The energy of the replicas of a tempered chain, each in units of its own: z ↦ β_r E(z/√β_r).

A quadratic well of E is the same well in these units at every temperature, and a kernel needs no other step for it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ebm_cli.derivatives import EnergyFn, value_and_grad


class Replicas:
    """z ↦ β_r E(z/√β_r) for the rows of R replicas of B chains, r-major: an `EnergyFn` of z [R B, *D].

    Its gradient is that of E at its own speed: E is not differentiated again through z.

    Args:
        energy: E. One whose rows differ from chain to chain (`Conditional.is_of_chains`) is called replica by replica.
        betas: β > 0 [R].
        like: a position of each chain [B, *D].
    """

    def __init__(self, energy: EnergyFn, betas: Tensor, like: Tensor) -> None:
        self.energy = energy
        self.n_chains = len(like)
        self.beta = betas.repeat_interleave(len(like))
        """β of each row [R B]."""
        self.unit = self.beta.sqrt().reciprocal().view(-1, *(1,) * (like.dim() - 1))
        """1/√β of each row [R B, 1, …]: units of x in one of z."""

    def __call__(self, z: Tensor) -> Tensor:
        if torch.is_grad_enabled() and z.requires_grad:
            apply: Callable[..., Tensor] = _Value.apply
            return apply(z, self)
        return self.beta * self.value(z * self.unit)

    def value(self, x: Tensor) -> Tensor:
        """E [R B] at positions x [R B, *D]."""
        if not getattr(self.energy, "is_of_chains", False):
            return self.energy(x)
        return torch.cat([self.energy(part) for part in x.split(self.n_chains)])

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """E [R B] and ∇E [R B, *D] at positions x [R B, *D]."""
        if not getattr(self.energy, "is_of_chains", False):
            return value_and_grad(self.energy, x)
        found = [value_and_grad(self.energy, part) for part in x.split(self.n_chains)]
        values, grads = zip(*found, strict=True)
        return torch.cat(values), torch.cat(grads)


class _Value(torch.autograd.Function):
    """The energy of the replicas, whose slope is computed with it."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, replicas: Replicas) -> Tensor:
        value, grad = replicas.value_and_grad(z * replicas.unit)
        # d/dz β E(z/√β) = √β ∇E.
        ctx.save_for_backward(grad / replicas.unit)
        return replicas.beta * value

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        (grad,) = ctx.saved_tensors
        return grad * slope.view(-1, *(1,) * (grad.dim() - 1)), None
