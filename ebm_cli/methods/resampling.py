"""Resampling of weighted walkers, those of one process or of all that train together.

Walkers x with log-weights A have the model's means Σ exp(A) g(x) / Σ exp(A). Where the weights have become uneven, few
walkers carry the mean. They are then drawn anew by their weights: of N cells (i + u)/N of the unit interval, with one
uniform number u, each takes the walker whose share of the weight it falls into. All have the mean weight after that.
Source: Kitagawa (1996), JCGS 5(1).

Several processes weigh their walkers against one another: resampled apart, the total weights of the processes would
drift, until one of them carries the gradient. Each tells the others its log-weights at every step, n numbers of n
walkers, and the first one its u, so that all take the same decision. Positions travel only where walkers are resampled:
every process is then told all N of them.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.system.ranks import ONE, Ranks

RESAMPLE_BELOW = 0.9
"""Effective share of the walkers below which they are resampled. Rarer resampling leaves modes with more walkers than
weight or fewer; then the bias of the running log Z differs from mode to mode, and so do their masses."""


def effective_share(log_weight: Tensor) -> Tensor:
    """Effective share of the walkers, (Σ w)²/(B Σ w²): [B] → [], in [1/B, 1]."""
    return (2 * log_weight.logsumexp(0) - (2 * log_weight).logsumexp(0)).exp() / len(log_weight)


def log_mean(log_weight: Tensor) -> Tensor:
    """log mean exp(A) of log-weights A [B]."""
    return log_weight.logsumexp(0) - math.log(len(log_weight))


class Survivors(NamedTuple):
    """The walkers that take the places of n walkers of this process.

    Attributes:
        rows: of the N walkers of all processes [n]; None if every walker of several processes keeps its place.
        every: log-weights of the survivors of all processes [N], nats.
        ranks: the processes.
    """

    rows: Tensor | None
    every: Tensor
    ranks: Ranks

    @property
    def log_weight(self) -> Tensor:
        """Log-weights of this process's survivors [n], nats."""
        return self.ranks.part(self.every)

    def take(self, *values: Tensor) -> list[Tensor]:
        """The survivors' values, from those of this process's walkers.

        Args:
            values: of one device, [n, …] each.

        Cost: between processes that resample, one message to each of the others with the values of all its walkers.
        """
        if self.rows is None:
            return list(values)
        return [value.index_select(0, self.rows) for value in _of_all(values, self.ranks)]


class Pool(NamedTuple):
    """The weights of walkers, together with those of the other processes.

    Attributes:
        log_weight: A of the walkers of all processes [N], nats.
        uniform: u in [0, 1) [], the same in all of them.
        ranks: the processes, which have as many walkers each.
    """

    log_weight: Tensor
    uniform: Tensor
    ranks: Ranks

    @property
    def effective_share(self) -> Tensor:
        """Effective share of the walkers of all processes []."""
        return effective_share(self.log_weight)

    def mean(self, values: Tensor) -> Tensor:
        """The model's mean of values [n] at this process's walkers.

        Of several processes, what it adds to the mean of all, times their number: the average over them is the mean.
        """
        share = self.ranks.part(self.log_weight.softmax(0))
        total = (share * values).sum()
        return total if self.ranks.size == 1 else self.ranks.size * total

    def survivors(self, below: float = RESAMPLE_BELOW) -> Survivors:
        """Choose survivors by the weights where these vary, all with the mean weight then; else every walker once.

        Args:
            below: effective share of the walkers below which they are resampled; above 1 for always.
        """
        if self.ranks.size == 1:
            # Nothing here waits for the device.
            chosen, mean = self._chosen()
            every = torch.arange(len(chosen), device=chosen.device)
            is_uneven = self.effective_share < below
            log_weight = torch.where(is_uneven, mean, self.log_weight)
            return Survivors(torch.where(is_uneven, chosen, every), log_weight, self.ranks)
        # In double precision on the host, so that two kinds of machine do not round to different decisions: one would
        # wait for positions that the other does not send.
        if not effective_share(self.log_weight.cpu().double()) < below:
            return Survivors(None, self.log_weight, self.ranks)
        chosen, mean = self._chosen()
        return Survivors(self.ranks.part(chosen), mean.expand(len(chosen)), self.ranks)

    def _chosen(self) -> tuple[Tensor, Tensor]:
        """Rows of the survivors of all processes [N], and the log-weight that each has []."""
        log_weight, n = self.log_weight, len(self.log_weight)
        grid = (torch.arange(n, device=log_weight.device) + self.uniform) / n
        cumulative = log_weight.softmax(0).cumsum(0)
        chosen = torch.searchsorted(cumulative, grid * cumulative[-1], right=True).clamp(max=n - 1)
        return chosen, log_mean(log_weight)


def pooled(log_weight: Tensor, rng: torch.Generator, ranks: Ranks = ONE) -> Pool:
    """Tell the other processes the weights of this one's walkers, and hear theirs; all must call it.

    Args:
        log_weight: A [n], nats.
        rng: source of one uniform number, on its device; that of the first process counts.
        ranks: the processes.
    """
    uniform = torch.rand((), generator=rng, dtype=log_weight.dtype, device=log_weight.device)
    if ranks.size == 1:
        return Pool(log_weight, uniform, ranks)
    told = ranks.gather(torch.cat((log_weight, uniform[None])))
    return Pool(torch.cat([each[:-1] for each in told]), told[0][-1], ranks)


def _of_all(values: tuple[Tensor, ...], ranks: Ranks) -> list[Tensor]:
    """The values of all processes, [N, …] each, by one message."""
    if ranks.size == 1:
        return list(values)
    flat = [value.flatten(1) if value.dim() > 1 else value[:, None] for value in values]
    # `cat` takes the type that holds all of them: logical values and counts are floats on the way.
    joined = ranks.join(torch.cat(flat, 1))
    columns = joined.split([part.shape[1] for part in flat], 1)
    return [of.reshape(-1, *value.shape[1:]).to(value.dtype) for of, value in zip(columns, values, strict=True)]
