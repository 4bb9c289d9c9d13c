"""Samples of a model by Markov chains, with the diagnostics of the chains.

Chains that start at noise end in the nearest mode, in proportions that have nothing to do with the model. The chains of
an evaluation start at points that annealing has carried to the model and that are resampled by their weights: each mode
begins with its own mass, and the kernel, which leaves the model invariant, keeps it. Where the energy bends a reference
density, they start at its draws, resampled likewise, and jump between modes by proposals from it.
"""

import math
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.evaluation.chain_summary import chain_results
from ebm_cli.evaluation.results import Results
from ebm_cli.samplers import EnergyFn, Info, Kernel, trace, warm_up
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
    began, n = time.monotonic(), n_steps(n_samples, len(starts))
    return described(run_chains(energy, kernel, starts, n, burn_in, rng, reference), energy, n, began)


class Ran(NamedTuple):
    """Chains after burn-in.

    Attributes:
        kernel: as burn-in has left it.
        x: where the chains stood then [n_chains, *shape].
        draws: stored positions [n_stored, n_chains, *shape].
        info: averaged over their steps.
        jumps: acceptance of the jumps [n_chains]; None without.
    """

    kernel: Kernel
    x: Tensor
    draws: Tensor
    info: Info
    jumps: Tensor | None


def run_chains(
    energy: EnergyFn,
    kernel: Kernel,
    starts: Tensor,
    n: int,
    burn_in: int,
    rng: torch.Generator,
    reference: Density | None = None,
) -> Ran:
    """Run chains for n steps after burn-in; the other arguments are those of `draw`."""
    kernel, state = warm_up(kernel, energy, starts, burn_in, rng)
    if reference is None or kernel.target_accept is None or kernel.has_ladder:
        draws, info = trace(kernel, energy, state, n, THIN, rng)
        return Ran(kernel, state.x, draws, info, None)
    return Ran(kernel, state.x, *trace_with_jumps(kernel, energy, reference, state, n, THIN, rng))


def described(ran: Ran, energy: EnergyFn, n: int, began: float) -> Drawn:
    """The samples of chains of n steps, with their diagnostics and costs.

    Args:
        ran: the chains.
        energy: f.
        n: steps after burn-in.
        began: `time.monotonic()` before burn-in.
    """
    kernel, info, found = ran.kernel, ran.info, Results()
    if ran.jumps is None:
        cost, n_starts = kernel.evaluations(n), kernel.n_points
    else:
        cost, n_starts = jump_cost(kernel, n, THIN), n // THIN
        found = Results({"sampler/jumps": float(ran.jumps.mean())})
    if info.gradients is not None:
        cost = cost._replace(grad=round(n * float(info.gradients.mean())) + n_starts)
    seconds = time.monotonic() - began
    results = Results({"sampler/drawn_by": type(kernel).__name__.lower()})
    results |= chain_results(kernel, energy, info, ran.draws, ran.x, THIN) | found
    gradients = len(ran.x) * (cost.grad + cost.energy if cost.grad else 0)
    return Drawn(ran.draws, results, gradients, seconds).with_costs()
