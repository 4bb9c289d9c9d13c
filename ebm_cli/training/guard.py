"""Divergence: noticed with the step where it began, without waiting for the device at every step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebm_cli.methods import Symptom

MOST = 10_000
"""Steps that are remembered at a time."""
CURE = "lower optimizer.lr or sampler.step_size, or clip_grad_norm"


class Diverged(Exception):
    """Training is lost: what was seen, from which step on, and the usual cure. Ends the command with exit code 3."""

    exit_code = 3

    def __init__(self, step: int, what: str, cure: str = CURE) -> None:
        super().__init__(f"diverged at step {step}: {what}; {cure}")
        self.step = step


class Guard:
    """Keeps loss, gradient norm and the method's symptoms of the last steps where they are; `read` looks at them.

    Args:
        interval: steps between two reads at most, ≥ 1; where they are more than MOST, the guard looks by itself.
        device: where losses live. On the CPU they are kept as numbers, a tenth of the cost of writing to a tensor.
        symptoms: what else is watched.
    """

    def __init__(self, interval: int, device: torch.device, symptoms: Sequence[Symptom] = ()) -> None:
        size = (min(interval, MOST), 2 + len(symptoms))
        self._seen: Any = np.zeros(size) if device.type == "cpu" else torch.zeros(size, device=device)
        self._symptoms = symptoms
        self._since: list[int | None] = [None] * len(symptoms)
        self._filled = 0
        self._first = 1
        self._found: Diverged | None = None

    def observe(self, step: int, loss: Tensor, grad_norm: Tensor, metrics: Mapping[str, Tensor] | None = None) -> None:
        """Remember one step (counted from 1), with the metrics that the symptoms are read from."""
        if self._filled == len(self._seen):
            later = self._look()
            self._found = self._found or later
        if self._filled == 0:
            self._first = step
        row = self._seen[self._filled]
        row[0], row[1] = loss.detach(), grad_norm
        for column, symptom in enumerate(self._symptoms, start=2):
            row[column] = row[0] if symptom.metric == "loss" or metrics is None else metrics[symptom.metric]
        self._filled += 1

    def read(self) -> Diverged | None:
        """What went wrong since the last read, as the error to raise; None if nothing did."""
        later = self._look()
        found, self._found = self._found or later, None
        return found

    def _look(self) -> Diverged | None:
        seen = torch.as_tensor(self._seen[: self._filled]).cpu()
        self._filled = 0
        bad = ~seen[:, :2].isfinite()
        if bad.any():
            row = int(bad.any(1).nonzero()[0])
            return Diverged(self._first + row, f"the {'loss' if bad[row, 0] else 'gradient'} is not finite")
        found = [self._persisting(index, seen[:, 2 + index]) for index in range(len(self._symptoms))]
        return min((error for error in found if error is not None), key=lambda error: error.step, default=None)

    def forget(self) -> None:
        """Begin anew, as after a return to an earlier step."""
        self._filled, self._found = 0, None
        self._since = [None] * len(self._symptoms)

    def _persisting(self, index: int, values: Tensor) -> Diverged | None:
        """A symptom that has lasted for as many steps as it takes, from the first of them on."""
        symptom = self._symptoms[index]
        for step, shown in enumerate(symptom.detect(values).tolist(), start=self._first):
            since = self._since[index] = (self._since[index] or step) if shown else None
            if since is not None and step - since + 1 >= symptom.steps:
                return Diverged(since, symptom.meaning, symptom.cure)
        return None
