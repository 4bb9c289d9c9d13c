"""Exponential moving average of parameters: the weights that a run is evaluated with."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from ebm_cli.optim.flat import Flat
from ebm_cli.system.ranks import Ranks


class EMA:
    """θ̄ ← β_t θ̄ + (1 − β_t) θ,   β_t = min(decay, (1 + t)/(10 + t)).

    The decay grows at the start, so that the first steps, near the initial weights, are soon forgotten.

    Args:
        names: of the parameters, in their order.
        flat: the parameters.
        decay: β in [0, 1); 0 switches the average off: θ̄ is then θ.
    """

    def __init__(self, names: Sequence[str], flat: Flat, decay: float) -> None:
        self._decay = decay
        self._flat = flat
        self._mean = flat.values.clone()
        self._by_name = dict(zip(names, flat.split(self._mean), strict=True))
        self._count = 0

    @torch.no_grad()
    def update(self) -> None:
        """Include the present values of the parameters."""
        decay = min(self._decay, (1 + self._count) / (10 + self._count)) if self._decay else 0.0
        self._count += 1
        self._mean.lerp_(self._flat.values, 1 - decay)

    @torch.no_grad()
    def restart(self) -> None:
        """Give the parameters their averaged values, and begin the average anew."""
        self._flat.values.copy_(self._mean)
        self._count = 0

    def agree(self, ranks: Ranks) -> None:
        """Take the first process's average in all of them."""
        ranks.broadcast_(self._mean)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the parameters have their averaged values; afterwards, their live ones again."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        held = self._flat.values.clone()
        self._flat.values.copy_(self._mean)
        self._mean.copy_(held)

    def state_dict(self) -> dict[str, object]:
        """The averages by name, and the number of updates."""
        return {"count": self._count, "mean": dict(self._by_name)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue from `state`."""
        count, mean = state["count"], state["mean"]
        assert isinstance(count, int)
        assert isinstance(mean, Mapping)
        self._count = count
        for name, target in self._by_name.items():
            target.copy_(mean[name])
