"""Replay buffer: chains that continue from one training step to the next.

Persistent contrastive divergence starts each step's chains where earlier ones ended, so that a chain has many more
steps behind it than one training step could pay for. A fraction of the chains restarts from noise, which finds modes
that no chain of the buffer has reached. Sources: Tieleman (2008), persistent chains; Du & Mordatch (2019), buffer.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.methods.jarzynski import fresh
from ebm_cli.samplers import select_chains


class Starts(NamedTuple):
    """Starting points of a step's chains.

    Attributes:
        x: [B, *D], standardised units.
        age: steps that each chain has behind it [B].
        rows: rows of the buffer that the chains come from [B]; None without a buffer.
        log_weight, energy: of the chains as `jarzynski.Walkers` [B]; None for chains without weights.
    """

    x: Tensor
    age: Tensor
    rows: Tensor | None = None
    log_weight: Tensor | None = None
    energy: Tensor | None = None


class ReplayBuffer(NamedTuple):
    """A view of the two tensors in which a method keeps its persistent chains; `write` and `fill` change them in place.

    The tensors are buffers of the method itself, so that they move between devices and into checkpoints with it.

    Attributes:
        points: ends of the chains [N, *D], standardised units.
        age: steps that each chain has behind it [N].
        log_weight, energy: of the chains as `jarzynski.Walkers` [N]; None for chains without weights.
    """

    points: Tensor
    age: Tensor
    log_weight: Tensor | None = None
    energy: Tensor | None = None

    def fill(self, noise: Density, rng: torch.Generator) -> None:
        """Put every chain at a draw of the noise."""
        if self.log_weight is None or self.energy is None:
            self.points.copy_(noise.sample(len(self.points), rng))
            return
        drawn = fresh(noise, len(self.points), rng)
        self.points.copy_(drawn.x)
        self.log_weight.copy_(drawn.log_weight)
        self.energy.copy_(drawn.energy)

    def draw(self, noise: Tensor, restart: float, rng: torch.Generator, log_weight: Tensor | None = None) -> Starts:
        """Draw B different chains, of which each restarts from its row of `noise` with probability `restart`.

        Args:
            noise: [B, *D], B ≤ N.
            log_weight: of the rows of `noise` [B], fresh walkers, for chains with weights.
            restart: in [0, 1].
            rng: source of the draws, on the buffer's device.
        """
        rows = torch.randperm(len(self.points), generator=rng, device=noise.device)[: len(noise)]
        restarts = torch.rand(len(noise), generator=rng, device=noise.device) < restart
        x = select_chains(restarts, noise, self.points.index_select(0, rows))
        age = torch.where(restarts, 0, self.age.index_select(0, rows))
        if log_weight is None or self.log_weight is None or self.energy is None:
            return Starts(x, age, rows)
        weight = torch.where(restarts, log_weight, self.log_weight.index_select(0, rows))
        return Starts(x, age, rows, weight, torch.where(restarts, 0, self.energy.index_select(0, rows)))

    def write(
        self, rows: Tensor, x: Tensor, age: Tensor, log_weight: Tensor | None = None, energy: Tensor | None = None
    ) -> None:
        """Store the ends of chains x [B, *D], their ages and, if they have any, weights [B] in different rows [B]."""
        self.points[rows] = x
        self.age[rows] = age
        if log_weight is not None and energy is not None and self.log_weight is not None and self.energy is not None:
            self.log_weight[rows] = log_weight
            self.energy[rows] = energy
