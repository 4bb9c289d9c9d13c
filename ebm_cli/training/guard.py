"""Detection of divergence: finds the step where it began, without waiting for the device at every step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebm_cli.methods import Symptom
from ebm_cli.system.ranks import ONE, Ranks

MAX_STEPS_HELD = 10_000
"""Steps whose values are kept between two reads, at most."""
REMEDY = "lower optimizer.lr or sampler.step_size, or clip_grad_norm"


class Diverged(Exception):
    """Training diverged: the step where it began, the symptom, and the usual remedy. Exit code 3.

    Args:
        step: from 1.
        what: the symptom.
        remedy: in the imperative.
        is_of_data: whether the data cause it, so that no smaller step helps.
        names_step_size: whether the symptom is that of chains whose step is too large.
    """

    exit_code = 3

    def __init__(
        self, step: int, what: str, remedy: str = REMEDY, is_of_data: bool = False, names_step_size: bool = False
    ) -> None:
        super().__init__(f"diverged at step {step}: {what}; {remedy}")
        self.step, self.what = step, what
        self.is_of_data, self.names_step_size = is_of_data, names_step_size


class Guard:
    """Watches loss, gradient norm and the method's symptoms.

    The values of the last steps stay on their device until `read` examines them.

    Args:
        interval: steps between two reads at most, ≥ 1; beyond `held` of them the guard examines them by itself.
        device: of the losses. On the CPU they are kept as numbers, a tenth of the cost of writing to a tensor.
        symptoms: of the method.
        remedy: for values that are not finite.
        is_ignored: whether `require_sound` lets everything pass (guard=ignore).
        held: steps whose values are kept at most, ≥ 1.
        ranks: the processes of the run. The values are averaged over them as they are examined, so that all find the
            same.
    """

    def __init__(
        self,
        interval: int,
        device: torch.device,
        symptoms: Sequence[Symptom] = (),
        *,
        remedy: str = REMEDY,
        is_ignored: bool = False,
        held: int = MAX_STEPS_HELD,
        ranks: Ranks = ONE,
    ) -> None:
        metrics = [name for symptom in symptoms for name in symptom.metrics]
        size = (min(interval, held), 2 + len(metrics))
        self.is_ignored, self._remedy, self._ranks = is_ignored, remedy, ranks
        self._values: Any = np.zeros(size) if device.type == "cpu" else torch.zeros(size, device=device)
        self._symptoms, self._metrics = symptoms, metrics
        self._since: list[int | None] = [None] * len(symptoms)
        self._filled = 0
        self._first = 1
        self._found: Diverged | None = None

    def observe(self, step: int, loss: Tensor, grad_norm: Tensor, metrics: Mapping[str, Tensor] | None = None) -> None:
        """Keep the values of one step (counted from 1), with the metrics that the symptoms are read from."""
        if self._filled == len(self._values):
            later = self._examine()
            self._found = self._found or later
        if self._filled == 0:
            self._first = step
        row = self._values[self._filled]
        row[0], row[1] = loss.detach(), grad_norm
        for column, name in enumerate(self._metrics, start=2):
            row[column] = row[0] if name == "loss" or metrics is None else metrics[name]
        self._filled += 1

    def read(self) -> Diverged | None:
        """First divergence since the last read, as the error to raise; None if there was none."""
        later = self._examine()
        found, self._found = self._found or later, None
        return found

    def require_sound(self) -> None:
        """Read, and raise what was found unless divergence is ignored.

        Raises:
            Diverged: since the last read.
        """
        found = self.read()
        if found is not None and not self.is_ignored:
            raise found

    def reset(self) -> None:
        """Drop everything observed, as after a rollback."""
        self._filled, self._found = 0, None
        self._since = [None] * len(self._symptoms)

    def _examine(self) -> Diverged | None:
        if not self._filled:
            return None
        values = self._ranks.mean_(torch.as_tensor(self._values[: self._filled]).cpu())
        self._filled = 0
        bad = ~values[:, :2].isfinite()
        if bad.any():
            row = int(bad.any(1).nonzero()[0])
            return Diverged(
                self._first + row, f"the {'loss' if bad[row, 0] else 'gradient'} is not finite", self._remedy
            )
        by_symptom = values[:, 2:].split([len(symptom.metrics) for symptom in self._symptoms], dim=1)
        found = [self._persisting(index, own) for index, own in enumerate(by_symptom)]
        return min((error for error in found if error is not None), key=lambda error: error.step, default=None)

    def _persisting(self, index: int, values: Tensor) -> Diverged | None:
        """Divergence if a symptom has lasted for its minimum number of steps, dated from the first of them.

        Args:
            index: of the symptom.
            values: of its metrics [N, 1 or 2].
        """
        symptom = self._symptoms[index]
        for step, shown in enumerate(symptom.detect(*values.unbind(1)).tolist(), start=self._first):
            since = self._since[index] = (self._since[index] or step) if shown else None
            if since is not None and step - since + 1 >= symptom.steps:
                return Diverged(since, symptom.meaning, symptom.cure, symptom.is_of_data, symptom.names_step_size)
        return None
