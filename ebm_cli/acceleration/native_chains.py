"""Langevin dynamics, MALA and HMC in native code on the energy of a perceptron: a part of `compile=native`.

`chains.cpp` advances a block of chains through many steps before it turns to the next block, so that the block stays
in cache (docs/adr/0018). The random numbers are those of torch's chains (`native_noise`), so that the chains are the
same chains, up to rounding.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor

from ebm_cli.acceleration.native_build import load_library
from ebm_cli.acceleration.native_calls import Chains, Step
from ebm_cli.energies import Energy
from ebm_cli.samplers import Info, Kernel, Schedule, State

CHUNK = 2**18
"""Normal numbers drawn at a time, unless one step needs more: 1 MiB, which stays in cache."""


@dataclass(frozen=True)
class NativeChains:
    """Runs chains in native code where it can; holds nothing of an energy.

    Args:
        threads: ≥ 1.
        chunk: normal numbers drawn at a time, unless one step needs more; changes no result.
    """

    threads: int
    chunk: int = CHUNK

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads must be >= 1, got {self.threads}")

    def covers(self, kernel: Kernel, energy: Energy, x: Tensor | State) -> bool:
        """True if `run` and `trace` do not return None for these chains."""
        return Chains.of(kernel, energy, x) is not None

    def run(
        self,
        kernel: Kernel,
        energy: Energy,
        x: Tensor | State,
        n_steps: int,
        rng: torch.Generator,
        schedule: Schedule | None = None,
    ) -> tuple[State, Info] | None:
        """`samplers.run`, or None where chains.cpp does not cover it: no random number is drawn then.

        Memory: twice `chunk` numbers, or those of two steps if they are more.
        """
        chains = Chains.of(kernel, energy, x)
        if chains is None:
            return None
        for _ in self._advance(chains, kernel, n_steps, rng, schedule, None, 1):
            pass
        return chains.state(), chains.info(n_steps)

    def trace(
        self,
        kernel: Kernel,
        energy: Energy,
        x: Tensor | State,
        n_steps: int,
        thin: int,
        rng: torch.Generator,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[Tensor, Info] | None:
        """`samplers.trace`, or None where chains.cpp does not cover it: no random number is drawn then."""
        chains = Chains.of(kernel, energy, x)
        if chains is None:
            return None
        at = x.x if isinstance(x, State) else x
        draws = at.new_empty(n_steps // thin, *at.shape)
        reported = 0
        for done in self._advance(chains, kernel, n_steps, rng, None, draws, thin):
            while progress is not None and reported + thin <= done:
                reported += thin
                progress(reported)
        return draws, chains.info(n_steps)

    def _advance(
        self,
        chains: Chains,
        kernel: Kernel,
        n_steps: int,
        rng: torch.Generator,
        schedule: Schedule | None,
        draws: Tensor | None,
        thin: int,
    ) -> Iterator[int]:
        """Yield the number of steps done, chunk by chunk."""
        moves = 1 if chains.ladder is None else chains.ladder.moves
        size = max(1, min(n_steps, self.chunk // (moves * chains.x.numel())))
        fixed = None if schedule else (Step * size)(*[Step.of(kernel)] * size)
        has_pool = bool(load_library().ebm_has_pool())
        noises = [chains.noise(size) for _ in range(2 if n_steps > size else 1)]
        noises[0].draw(min(size, n_steps), rng)
        # A run of no steps enters the loop once, too: the state needs the energy and gradient at the start.
        for i in range(max(1, ceil(n_steps / size))):
            done = i * size
            count, left = min(size, n_steps - done), n_steps - done - size
            steps = fixed
            if schedule is not None:
                kernels = (replace(kernel, **schedule(j)) for j in range(done, done + count))
                steps = (Step * count)(*map(Step.of, kernels))
            kept = None if draws is None else draws[done // thin :]
            # With nothing to draw meanwhile, the work is done by torch's own pool: its threads spin for a while after
            # an operation, and would compete with threads of another pool.
            helpers, team = (1, self.threads) if has_pool and left <= 0 else (self.threads, 1)
            with chains.advancing(count, done, thin, steps, noises[i % 2], kept, helpers, team):
                if left > 0:
                    noises[(i + 1) % 2].draw(min(size, left), rng)
            yield done + count
