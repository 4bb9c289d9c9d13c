"""Samples of a model by Markov chains, with the diagnostics of the chains.

Chains that start at noise end in the nearest mode, in proportions that have nothing to do with the model. The chains of
an evaluation start at points that annealing has carried to the model and that are resampled by their weights: each mode
begins with its own mass, and the kernel, which leaves the model invariant, keeps it. Where the energy bends a reference
density, they start at its draws, resampled likewise, and jump between modes by proposals from it.
"""

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.evaluation.chain_summary import chain_results
from ebm_cli.evaluation.results import Results
from ebm_cli.samplers import EnergyFn, Kernel, trace, warm_up
from ebm_cli.samplers.independence import jump_cost, trace_with_jumps

THIN = 10
"""Steps between two stored positions of a chain."""


@dataclass(frozen=True)
class Drawn:
    """Samples of a model.

    Attributes:
        draws: stored positions of the chains [n_stored, n_chains, *shape], standardised units.
        results: about the chains.
        gradients: of all chains after burn-in; an energy alone counts as much, where there are gradients: at most half
            too much.
        seconds: with burn-in.
        n_apart: positions of a chain that are nearly independent of each other, ≥ 1.
    """

    draws: Tensor
    results: Results
    gradients: int
    seconds: float
    n_apart: int = 1

    @property
    def independent(self) -> Tensor:
        """The last position of every chain, or of each of `n_apart` parts of it [N, *shape]."""
        last = [part * len(self.draws) // self.n_apart - 1 for part in range(1, self.n_apart + 1)]
        return self.draws[last].flatten(0, 1)

    def with_costs(self) -> "Drawn":
        """With the effective sample size per gradient and per second."""
        ess, costs = self.results.values.get("sampler/ess_bulk"), {"grad": self.gradients, "second": self.seconds}
        if not isinstance(ess, float):
            return self
        found = {f"sampler/ess_per_{name}": ess / cost for name, cost in costs.items() if cost > 0}
        return replace(self, results=self.results | Results({**found}))


def n_steps(n_samples: int, n_chains: int) -> int:
    """Steps of each chain, after burn-in, that give n_samples positions of all of them together."""
    return math.ceil(n_samples / n_chains) * THIN


def draw(
    energy: EnergyFn,
    kernel: Kernel,
    starts: Tensor,
    n_samples: int,
    burn_in: int,
    rng: torch.Generator,
    reference: Density | None = None,
) -> Drawn:
    """Run chains from `starts`, and store at least n_samples positions of all of them together.

    Args:
        energy: f.
        kernel: the transition; the step size of one with an acceptance test is adapted during burn-in.
        starts: one row a chain [n_chains, *shape].
        n_samples: positions, over all chains, ≥ 1.
        burn_in: steps before the first stored position, ≥ 0.
        rng: source of every draw.
        reference: density of the jumps between modes, one before each stored position; None for a kernel alone. A
            kernel without an acceptance test makes none: its bias is measured. A tempered one makes none either: it
            crosses between modes by itself.

    Cost: burn_in + 10 n_samples/n_chains steps of n_chains chains, and two energies a jump.
    """
    began = time.monotonic()
    kernel, state = warm_up(kernel, energy, starts, burn_in, rng)
    n = n_steps(n_samples, len(starts))
    found = Results()
    if reference is None or kernel.target_accept is None or kernel.has_ladder:
        draws, info = trace(kernel, energy, state, n, THIN, rng)
        cost, n_starts = kernel.evaluations(n), kernel.n_points
    else:
        draws, info, jumps = trace_with_jumps(kernel, energy, reference, state, n, THIN, rng)
        cost, n_starts = jump_cost(kernel, n, THIN), n // THIN
        found = Results({"sampler/jumps": float(jumps.mean())})
    if info.gradients is not None:
        cost = cost._replace(grad=round(n * float(info.gradients.mean())) + n_starts)
    seconds = time.monotonic() - began
    results = Results({"sampler/drawn_by": type(kernel).__name__.lower()})
    results |= chain_results(kernel, energy, info, draws, state.x, THIN) | found
    gradients = len(starts) * (cost.grad + cost.energy if cost.grad else 0)
    return Drawn(draws, results, gradients, seconds).with_costs()
