"""Exponential moving average of parameters: the weights that a run is judged by."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class EMA:
    """θ̄ ← β_t θ̄ + (1 − β_t) θ,   β_t = min(decay, (1 + t)/(10 + t)).

    The decay grows at the start, so that the first steps, near the initial weights, are soon forgotten.

    Args:
        parameters: what is averaged, by name.
        decay: β in [0, 1); 0 switches the average off: it is then the parameters themselves.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        self._decay = decay
        self._names = list(parameters)
        self._live = list(parameters.values())
        self._mean = [p.detach().clone() for p in self._live]
        self._count = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are now."""
        decay = min(self._decay, (1 + self._count) / (10 + self._count)) if self._decay else 0.0
        self._count += 1
        torch._foreach_lerp_(self._mean, self._live, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averaged values stand in the parameters inside the block; the live ones return after it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for live, mean in zip(self._live, self._mean, strict=True):
            held = live.clone()
            live.copy_(mean)
            mean.copy_(held)

    def state_dict(self) -> dict[str, object]:
        """Averages by name, and how many updates they hold."""
        return {"count": self._count, "mean": dict(zip(self._names, self._mean, strict=True))}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue from `state`."""
        count, mean = state["count"], state["mean"]
        assert isinstance(count, int)
        assert isinstance(mean, Mapping)
        self._count = count
        for name, target in zip(self._names, self._mean, strict=True):
            target.copy_(mean[name])
