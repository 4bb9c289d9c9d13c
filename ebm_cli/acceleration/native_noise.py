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
        jitter: [n, B] for kernels with a step size of each trajectory's own, else [n, 0]: uniform numbers.
        steps: all of each step in the order of their draws, where they are drawn step by step; else empty.
    """

    normal: Tensor
    uniform: Tensor
    jitter: Tensor
    steps: list[tuple[Tensor, Tensor, Tensor]]

    @classmethod
    def allocate(cls, x: Tensor, n_steps: int, has_test: bool, has_jitter: bool) -> "Noise":
        """Memory for the numbers of n_steps steps of chains at x.

        Args:
            x: positions [B, *D].
            n_steps: number of steps.
            has_test: of a kernel with a Metropolis test.
            has_jitter: of a kernel with a step size of each trajectory's own.
        """
        normal, uniform = x.new_empty(n_steps, *x.shape), x.new_empty(n_steps, len(x) if has_test else 0)
        jitter = x.new_empty(n_steps, len(x) if has_jitter else 0)
        if not has_test and x.numel() % SIXTEEN == 0:
            return cls(normal, uniform, jitter, [])
        return cls(normal, uniform, jitter, list(zip(normal, jitter, uniform, strict=True)))

    def draw(self, n_steps: int, rng: torch.Generator) -> None:
        """Draw as torch's chains do: step by step, or at once where that gives the same numbers."""
        if not self.steps:
            self.normal[:n_steps].normal_(generator=rng)
        for normal, *uniforms in self.steps[:n_steps]:
            normal.normal_(generator=rng)
            for uniform in uniforms:
                if uniform.numel():
                    uniform.uniform_(generator=rng)
