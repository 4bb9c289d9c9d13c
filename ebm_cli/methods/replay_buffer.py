"""Replay buffer: chains that continue from one training step to the next.

Persistent contrastive divergence starts each step's chains where earlier ones ended, so that a chain has many more
steps behind it than one training step could pay for. A fraction of the chains restarts from noise, which finds modes
that no chain of the buffer has reached. Sources: Tieleman (2008), persistent chains; Du & Mordatch (2019), buffer.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities import Density
from ebm_cli.samplers import select_chains


class Starts(NamedTuple):
    """Starting points of a step's chains.

    Attributes:
        x: [B, *D], standardised units.
        age: steps that each chain has behind it [B].
        rows: rows of the buffer that the chains come from [B]; None without a buffer.
    """

    x: Tensor
    age: Tensor
    rows: Tensor | None = None


class ReplayBuffer(NamedTuple):
    """A view of the two tensors in which a method keeps its persistent chains; `write` and `fill` change them in place.

    The tensors are buffers of the method itself, so that they move between devices and into checkpoints with it.

    Attributes:
        points: ends of the chains [N, *D], standardised units.
        age: steps that each chain has behind it [N].
    """

    points: Tensor
    age: Tensor

    def fill(self, noise: Density, rng: torch.Generator) -> None:
        """Put every chain at a draw of the noise."""
        self.points.copy_(noise.sample(len(self.points), rng))

    def draw(self, noise: Tensor, restart: float, rng: torch.Generator) -> Starts:
        """Draw B different chains, of which each restarts from its row of `noise` with probability `restart`.

        Args:
            noise: [B, *D], B ≤ N.
            restart: in [0, 1].
            rng: source of the draws, on the buffer's device.
        """
        rows = torch.randperm(len(self.points), generator=rng, device=noise.device)[: len(noise)]
        restarts = torch.rand(len(noise), generator=rng, device=noise.device) < restart
        x = select_chains(restarts, noise, self.points.index_select(0, rows))
        return Starts(x, torch.where(restarts, 0, self.age.index_select(0, rows)), rows)

    def write(self, rows: Tensor, x: Tensor, age: Tensor) -> None:
        """Store the ends of chains x [B, *D] and their ages [B] in different rows [B]."""
        self.points[rows] = x
        self.age[rows] = age
