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
        exchange: uniform numbers of the exchanges of tempered chains, those of all replicas at a time; else empty.
        steps: all of each step in the order of their draws, where they are drawn step by step; else empty.
    """

    normal: Tensor
    uniform: Tensor
    jitter: Tensor
    exchange: Tensor
    steps: list[tuple[list[tuple[Tensor, Tensor, Tensor]], Tensor]]

    @classmethod
    def allocate(
        cls,
        x: Tensor,
        n_steps: int,
        has_test: bool,
        has_jitter: bool,
        moves: int = 1,
        pairs: Tensor | None = None,
    ) -> "Noise":
        """Memory for the numbers of n_steps steps of chains at x.

        Args:
            x: positions [B, *D], of all replicas.
            n_steps: number of steps.
            has_test: of a kernel with a Metropolis test.
            has_jitter: of a kernel with a step size of each trajectory's own.
            moves: of the kernel in a step.
            pairs: like the numbers of a step's exchanges [R − 1, B]; None without tempering.
        """
        n = n_steps * moves
        normal, uniform = x.new_empty(n, *x.shape), x.new_empty(n, len(x) if has_test else 0)
        jitter = x.new_empty(n, len(x) if has_jitter else 0)
        exchange = x.new_empty(n_steps, *((0,) if pairs is None else pairs.shape))
        if not has_test and x.numel() % SIXTEEN == 0:
            return cls(normal, uniform, jitter, exchange, [])
        drawn = list(zip(normal, jitter, uniform, strict=True))
        steps = [(drawn[moves * i : moves * (i + 1)], exchange[i]) for i in range(n_steps)]
        return cls(normal, uniform, jitter, exchange, steps)

    def draw(self, n_steps: int, rng: torch.Generator) -> None:
        """Draw as torch's chains do: step by step, or at once where that gives the same numbers."""
        if not self.steps:
            self.normal[:n_steps].normal_(generator=rng)
        for moves, exchange in self.steps[:n_steps]:
            for normal, *uniforms in moves:
                normal.normal_(generator=rng)
                for uniform in uniforms:
                    if uniform.numel():
                        uniform.uniform_(generator=rng)
            if exchange.numel():
                exchange.uniform_(generator=rng)
