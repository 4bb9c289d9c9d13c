"""The processes that train one run together, and what they tell one another.

Every process, a *rank*, has its own rows, chains and noise, and the same parameters. A loss that is a mean over rows is
the mean of the ranks' losses, as is its gradient; what else has to be known in common goes through the few operations
here. All ranks call them in the same order. `ONE` is a run of one process, in which they do nothing;
`system.process_group` has those of several.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ebm_cli.errors import UserError


class Ranks:
    """One of several processes, and its view of the others.

    Args:
        index: of this process, from 0.
        size: processes, ≥ 1. With more than one, this class itself only divides: it can tell nothing to the others.
    """

    def __init__(self, index: int = 0, size: int = 1) -> None:
        self.index, self.size = index, size

    def __deepcopy__(self, memo: object) -> "Ranks":
        # The processes are the same for a copy of what knows them.
        return self

    @property
    def is_first(self) -> bool:
        """True for the process that writes and evaluates."""
        return self.index == 0

    def stream(self, name: str) -> str:
        """Name of this process's own random stream (`rng`); the name itself in a run of one process."""
        return name if self.size == 1 else f"{name}/rank {self.index}"

    def share(self, n: int, key: str) -> int:
        """This process's share of n things, as many as every other's.

        Raises:
            UserError: they cannot be divided; the message begins with the key.
        """
        if n % self.size:
            raise UserError(f"{key} must be a multiple of parallel.ranks = {self.size}, got {n}")
        return n // self.size

    def part(self, rows: Tensor) -> Tensor:
        """This process's rows of those of all [N, …] → [n, …], of about N/size rows."""
        return rows.tensor_split(self.size)[self.index] if self.size > 1 else rows

    def sum_(self, value: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place; the same bits in all of them."""
        return value

    def broadcast_(self, value: Tensor) -> Tensor:
        """Replace a tensor by the first process's, in place."""
        return value

    def gather(self, value: Tensor) -> list[Tensor]:
        """The tensors of all processes, of one shape, in their order; without a gradient."""
        return [value]

    def announce(self, value: Any) -> Any:
        """The first process's plain value (numbers, texts, tensors, lists, dicts, None) in all processes."""
        return value

    def collect(self, value: Any) -> list[Any]:
        """The plain values of all processes, in their order."""
        return [value]

    def close(self) -> None:
        """Leave the others, at the end of the run."""

    def mean_(self, value: Tensor) -> Tensor:
        """Average a tensor over the processes, in place; the same bits in all of them."""
        return value if self.size == 1 else self.sum_(value).div_(self.size)

    def mean(self, value: Tensor) -> Tensor:
        """The average of a tensor over the processes; the tensor stays as it is."""
        return value if self.size == 1 else self.mean_(value.detach().clone())

    def means(self, values: Mapping[str, float]) -> dict[str, float]:
        """The averages of numbers; the names are those of this process."""
        if self.size == 1 or not values:
            return dict(values)
        return dict(
            zip(values, self.mean_(torch.tensor([*values.values()], dtype=torch.float64)).tolist(), strict=True)
        )

    def join(self, rows: Tensor) -> Tensor:
        """Rows [n, …] of all processes, one below the other [n·size, …]; without a gradient."""
        return rows if self.size == 1 else torch.cat(self.gather(rows.detach()))

    def log_sum_exp(self, own: Tensor) -> Tensor:
        """The logarithm of a sum over all processes, from that of this process's terms [].

        Its gradient, averaged over the processes, is that of the whole: each term has its weight in the sum.
        """
        if self.size == 1:
            return own
        fixed = own.detach()
        total = torch.stack(self.gather(fixed)).logsumexp(0)
        return total + self.size * (fixed - total).exp() * (own - fixed)

    def on_first(self, make: Callable[[], Any]) -> Any:
        """Call a function in the first process, and return its result in all of them; the others wait for it."""
        return self.announce(make() if self.is_first else None)


ONE = Ranks()
"""A run of one process."""
