"""Streams of batches for the training loop, which stop and resume bit for bit.

A stream owns the generator that it is given: nothing else may draw from it, because the stream's state *is* the
generator's state (before the current block or epoch) and a cursor.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from ebm_cli.errors import UserError
from ebm_cli.rng import restore
from ebm_cli.system.ranks import ONE, Ranks

BLOCK_BATCHES = 64
"""Batches of a block, at most."""
BLOCK_NUMBERS = 2**22
"""Numbers of a block, at most (16 MB in float32), unless a single batch has more."""


class Batches(ABC):
    """An endless sequence of full batches [B, *shape], standardised units."""

    batch_size: int

    @abstractmethod
    def next(self) -> Tensor:
        """Return the next batch [B, *shape]."""

    def divide(self, ranks: Ranks, rng: torch.Generator) -> None:
        """Serve this process's share of every batch; called once, before the first batch.

        Args:
            ranks: the processes that train together.
            rng: this process's own source of random numbers. That of the stream, which is the same in all processes,
                stays the source of what they have in common.

        Raises:
            UserError: the stream cannot be divided.
        """
        if ranks.size > 1:
            raise UserError(f"parallel.ranks must be 1 with batches of {type(self).__name__}, got {ranks.size}")

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the position in the sequence: plain numbers and CPU tensors."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, as if the stream had never stopped."""

    def continue_anew(self, state: dict[str, Any], rng: torch.Generator) -> None:
        """Continue from the state of another number of processes, with the random numbers of `rng`."""
        raise UserError(f"parallel.ranks must stay as it was with batches of {type(self).__name__}")


def _require_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be >= 1, got {batch_size}")


@final
class FreshBatches(Batches):
    """Rows that are never repeated, drawn from a density in blocks of many batches, so that a step costs a slice.

    Args:
        draw: n → n fresh rows [n, *shape] in standardised units; every random number comes from `rng`.
        batch_size: B ≥ 1.
        n_numbers: numbers in one row, which bound the block's memory.
        rng: the stream's own generator, on the rows' device.

    Raises:
        ValueError: batch_size < 1.
    """

    def __init__(self, draw: Callable[[int], Tensor], batch_size: int, n_numbers: int, rng: torch.Generator) -> None:
        _require_batch_size(batch_size)
        self.batch_size = batch_size
        self._draw = draw
        self._rng = rng
        self._n_numbers = n_numbers
        self._n_batches = self._batches_of_block()
        self._start = rng.get_state()
        self._cursor = 0
        self._block: Tensor | None = None

    def _batches_of_block(self) -> int:
        return max(1, min(BLOCK_BATCHES, BLOCK_NUMBERS // (self.batch_size * self._n_numbers)))

    def divide(self, ranks: Ranks, rng: torch.Generator) -> None:
        if ranks.size > 1:
            # Every process draws rows of its own.
            self.batch_size = ranks.share(self.batch_size, "batch_size")
            self._n_batches = self._batches_of_block()
            self._rng.set_state(rng.get_state())
            self._start = self._rng.get_state()

    def next(self) -> Tensor:
        if self._block is None:
            self._block = self._draw(self._n_batches * self.batch_size)
        first = self._cursor * self.batch_size
        batch = self._block[first : first + self.batch_size]
        self._cursor += 1
        if self._cursor == self._n_batches:
            # Set here and not at the next call, so that a state saved in between points at the next block.
            self._start, self._cursor, self._block = self._rng.get_state(), 0, None
        return batch

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self._start, "cursor": self._cursor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        restore(self._rng, state["rng"])
        self._start = self._rng.get_state()
        self._cursor = int(state["cursor"])
        self._block = None

    def continue_anew(self, state: dict[str, Any], rng: torch.Generator) -> None:
        # Its blocks have another length.
        self.load_state_dict({"rng": rng.get_state(), "cursor": 0})


@final
class EpochBatches(Batches):
    """Minibatches without replacement from a finite set, reshuffled for every epoch, whose remainder is dropped.

    Args:
        serve: (index [B], rng) → these rows [B, *shape] in standardised units; its random numbers come from `rng`.
        n_rows: N ≥ 1, the rows of the set.
        batch_size: B ≥ 1; a batch has at most N rows.
        rng: the stream's own generator, on the rows' device.

    Raises:
        ValueError: batch_size < 1.
    """

    def __init__(
        self, serve: Callable[[Tensor, torch.Generator], Tensor], n_rows: int, batch_size: int, rng: torch.Generator
    ) -> None:
        _require_batch_size(batch_size)
        self.batch_size = min(batch_size, n_rows)
        self._serve = serve
        self._n_rows = n_rows
        self._rng = self._order_rng = rng
        self._ranks = ONE
        self._joint = self.batch_size
        self._start = rng.get_state()
        self._cursor = 0
        self._order: Tensor | None = None

    def divide(self, ranks: Ranks, rng: torch.Generator) -> None:
        if ranks.size > 1:
            # The order of the rows is common; each process takes its part of a batch, with noise of its own.
            self._joint -= self._joint % ranks.size if self._joint == self._n_rows else 0
            self.batch_size = ranks.share(self._joint, "batch_size")
            if not self.batch_size:
                raise UserError(f"parallel.ranks must be at most the {self._n_rows} training rows, got {ranks.size}")
            self._ranks, self._rng = ranks, rng

    def next(self) -> Tensor:
        if self._cursor + self._joint > self._n_rows:
            self._start, self._cursor, self._order = self._order_rng.get_state(), 0, None
        if self._order is None:
            self._order = self._shuffle()
        index = self._order[self._cursor : self._cursor + self._joint]
        self._cursor += self._joint
        return self._serve(self._ranks.part(index), self._rng)

    def _shuffle(self) -> Tensor:
        return torch.randperm(self._n_rows, generator=self._order_rng, device=self._order_rng.device)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch_rng": self._start, "rng": self._rng.get_state(), "cursor": self._cursor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        restore(self._order_rng, state["epoch_rng"])
        self._start = self._order_rng.get_state()
        self._cursor = int(state["cursor"])
        self._order = None
        if self._cursor:
            self._order = self._shuffle()
        restore(self._rng, state["rng"])

    def continue_anew(self, state: dict[str, Any], rng: torch.Generator) -> None:
        # Its order is common to any number of processes.
        self.load_state_dict(state | {"rng": rng.get_state()})
