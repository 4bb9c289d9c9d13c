"""Early stopping: training ends when looking at it has brought nothing new for a while.

Source: Prechelt (1998), "Early stopping – but when?", the criterion UP_s counted from the best evaluation.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Stopping:
    """What the periodic evaluations of a run said; part of its checkpoint.

    Args:
        best: the lowest value so far.
        since: step of that evaluation.
        waited: evaluations after it, none of which was lower.
        seen: step of the last evaluation, and its value.
    """

    best: float = math.inf
    since: int = 0
    waited: int = 0
    seen: int = 0
    last: float | None = None

    def saw(self, step: int, value: float | None) -> None:
        """Take in an evaluation; one without a number counts as no improvement, once there has been a number."""
        self.seen, self.last = step, value
        if value is not None and value < self.best:
            self.best, self.since, self.waited = value, step, 0
        elif math.isfinite(self.best):
            self.waited += 1

    def enough(self, patience: int | None) -> bool:
        """Whether `patience` ≥ 1 evaluations in a row brought no improvement; never for None."""
        return patience is not None and self.waited >= patience

    def reason(self, key: str) -> str:
        """Why training ended, in a sentence."""
        times = f"{self.waited} evaluation{'s' if self.waited > 1 else ''}"
        return f"early stopping: {key} has not improved for {times}, since step {self.since}"

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "Stopping":
        """Continue from `state`."""
        return cls(**state)
