"""The random numbers of native chains: the same as in torch's chains, in the same order, from the same generator."""

from typing import NamedTuple

import torch
from torch import Tensor

SIXTEEN = 16
"""Normal numbers that torch generates together: for steps of a multiple of 16 numbers, one draw for all of them gives
the numbers of a draw for each."""


class Noise(NamedTuple):
    """Random numbers of a chunk of steps.

    Attributes:
        normal: [n, B, *D].
        uniform: [n, B] for kernels with a Metropolis test, else [n, 0].
        steps: both for each step, where they are drawn step by step; else empty.
    """

    normal: Tensor
    uniform: Tensor
    steps: list[tuple[Tensor, Tensor]]

    @classmethod
    def allocate(cls, x: Tensor, n_steps: int, has_test: bool) -> "Noise":
        """Memory for the numbers of n_steps steps of chains at x; `has_test`: of a kernel with a Metropolis test."""
        normal, uniform = x.new_empty(n_steps, *x.shape), x.new_empty(n_steps, len(x) if has_test else 0)
        if not has_test and x.numel() % SIXTEEN == 0:
            return cls(normal, uniform, [])
        return cls(normal, uniform, list(zip(normal.unbind(), uniform.unbind(), strict=True)))

    def draw(self, n_steps: int, rng: torch.Generator) -> None:
        """Draw as torch's chains do: step by step, or at once where that gives the same numbers."""
        if not self.steps:
            self.normal[:n_steps].normal_(generator=rng)
        for normal, uniform in self.steps[:n_steps]:
            normal.normal_(generator=rng)
            if uniform.numel():
                uniform.uniform_(generator=rng)
