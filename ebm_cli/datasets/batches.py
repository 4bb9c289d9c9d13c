"""Streams of batches for the training loop, which stop and resume bit for bit.

A stream owns the generator that it is given: nothing else may draw from it, because the stream's state *is* the
generator's state (before the current block or epoch) and a cursor.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

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

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the position in the sequence: plain numbers and CPU tensors."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, as if the stream had never stopped."""


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
        self._n_batches = max(1, min(BLOCK_BATCHES, BLOCK_NUMBERS // (batch_size * n_numbers)))
        self._start = rng.get_state()
        self._cursor = 0
        self._block: Tensor | None = None

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
        self._start = state["rng"].cpu()
        self._cursor = int(state["cursor"])
        self._block = None
        self._rng.set_state(self._start)


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
        self._rng = rng
        self._start = rng.get_state()
        self._cursor = 0
        self._order: Tensor | None = None

    def next(self) -> Tensor:
        if self._cursor + self.batch_size > self._n_rows:
            self._start, self._cursor, self._order = self._rng.get_state(), 0, None
        if self._order is None:
            self._order = self._shuffle()
        index = self._order[self._cursor : self._cursor + self.batch_size]
        self._cursor += self.batch_size
        return self._serve(index, self._rng)

    def _shuffle(self) -> Tensor:
        return torch.randperm(self._n_rows, generator=self._rng, device=self._rng.device)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch_rng": self._start, "rng": self._rng.get_state(), "cursor": self._cursor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._start = state["epoch_rng"].cpu()
        self._cursor = int(state["cursor"])
        self._rng.set_state(self._start)
        self._order = None
        if self._cursor:
            self._order = self._shuffle()
            self._rng.set_state(state["rng"].cpu())
