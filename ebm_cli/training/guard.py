"""Divergence: noticed with the step where it began, without waiting for the device at every step."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


class Diverged(Exception):
    """Training produced a number that is not finite. Ends the command with exit code 3."""

    exit_code = 3

    def __init__(self, step: int, what: str) -> None:
        super().__init__(
            f"diverged at step {step}: {what} is not finite; lower optimizer.lr or sampler.step_size, or clip_grad_norm"
        )
        self.step = step


class Guard:
    """Keeps loss and gradient norm of the last steps where they are; `read` looks at them.

    Args:
        interval: steps between two reads at most, ≥ 1.
        device: where losses live. On the CPU they are kept as numbers, a tenth of the cost of writing to a tensor.
    """

    def __init__(self, interval: int, device: torch.device) -> None:
        size = (interval, 2)
        self._seen: Any = np.zeros(size) if device.type == "cpu" else torch.zeros(size, device=device)
        self._filled = 0
        self._first = 1

    def observe(self, step: int, loss: Tensor, grad_norm: Tensor) -> None:
        """Remember one step (counted from 1)."""
        if self._filled == 0:
            self._first = step
        self._seen[self._filled, 0] = loss.detach()
        self._seen[self._filled, 1] = grad_norm
        self._filled += 1

    def read(self) -> Diverged | None:
        """What went wrong since the last read, as the error to raise; None if nothing did."""
        seen = torch.as_tensor(self._seen[: self._filled]).cpu()
        self._filled = 0
        bad = ~seen.isfinite()
        if not bad.any():
            return None
        row = int(bad.any(1).nonzero()[0])
        return Diverged(self._first + row, "the loss" if bad[row, 0] else "the gradient")
