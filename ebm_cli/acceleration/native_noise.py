"""The random numbers of native chains: those that the torch path draws, in its order, from the same generator."""

from typing import NamedTuple

import torch
from torch import Tensor

SIXTEEN = 16
"""Normal numbers that torch makes together: steps of whole sixteens, drawn at once, are those of single draws."""


class Noise(NamedTuple):
    """Random numbers of a chunk of steps.

    Attributes:
        normal: [n, B, *D].
        uniform: [n, B] of kernels that accept, else [n, 0].
        steps: both of every step, where they are drawn step by step; else empty.
    """

    normal: Tensor
    uniform: Tensor
    steps: list[tuple[Tensor, Tensor]]

    @classmethod
    def room(cls, x: Tensor, n_steps: int, tested: bool) -> "Noise":
        """Memory for the numbers of n_steps of chains at x; `tested`: of a kernel that accepts."""
        normal, uniform = x.new_empty(n_steps, *x.shape), x.new_empty(n_steps, len(x) if tested else 0)
        if not tested and x.numel() % SIXTEEN == 0:
            return cls(normal, uniform, [])
        return cls(normal, uniform, list(zip(normal.unbind(), uniform.unbind(), strict=True)))

    def draw(self, n_steps: int, rng: torch.Generator) -> None:
        """As the torch path does: step by step, or at once where that gives the same numbers."""
        if not self.steps:
            self.normal[:n_steps].normal_(generator=rng)
        for normal, uniform in self.steps[:n_steps]:
            normal.normal_(generator=rng)
            if uniform.numel():
                uniform.uniform_(generator=rng)
