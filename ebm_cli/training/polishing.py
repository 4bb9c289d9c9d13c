"""The second phase of a run (`polish=…`), in the same loop: when it begins, how long it is, and its schedule."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ebm_cli.energies import Energy
from ebm_cli.methods import LossOutput, Method
from ebm_cli.methods.polish import Polish


class Polishing:
    """State of the second phase, part of the trainer's.

    The first phase is, to the last bit, the run without a second one. The second begins with its averaged weights, and
    with new optimizers, averages and schedules.

    Args:
        polish: what the phase does.
        steps: of the first phase, if patience does not end it earlier.
        make_schedule: builds an optimizer's schedule of a given length, with the phase's learning rate.

    Attributes:
        began: step at which it began; None before.
    """

    def __init__(self, polish: Polish, steps: int, make_schedule: Callable[[Optimizer, int], LRScheduler]) -> None:
        self.polish = polish
        self.began: int | None = None
        self._steps, self._planned = steps, steps
        self._make_schedule = make_schedule

    @property
    def length(self) -> int:
        """Steps of the phase; a run that is resumed with more `steps` when it has begun polishes for longer."""
        return self.polish.steps + max(0, self._steps - self._planned)

    @property
    def skipped(self) -> int:
        """Steps of the first phase that patience left out."""
        return 0 if self.began is None else self._planned - self.began

    @property
    def end(self) -> int:
        """Last step of the phase."""
        return (self._steps if self.began is None else self.began) + self.length

    @property
    def divided(self) -> list[str]:
        """Entries of the objective's state that the processes of a run do not have in common (`Method.divided`)."""
        return [f"method.{name}" for name in self.polish.method.divided or ()]

    def make_schedule(self, optimizer: Optimizer) -> LRScheduler:
        """The schedule of the phase, from its first step."""
        return self._make_schedule(optimizer, self.length)

    def begin(self, step: int, first: Method, energy: Energy, data: Tensor, rng: torch.Generator) -> None:
        """Begin after this step."""
        self.began, self._planned = step, self._steps
        self.polish.begin(first, energy, data, rng)

    def parameters(self, energy: Energy) -> list[nn.Parameter]:
        """The parameters that are trained beside the energy."""
        return self.polish.own_parameters(energy)

    def loss(self, first: Method, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        """The objective of the phase on a batch x [B, *D]."""
        return self.polish.loss(first, energy, x, rng)

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors."""
        return {"began": self.began, "planned": self._planned, "parts": self.polish.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.began = state["began"]
        self._planned = self._steps if self.began is None else int(state["planned"])
        self.polish.load_state_dict(state["parts"])
