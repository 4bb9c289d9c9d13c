"""Early stopping: training ends after several evaluations in a row without improvement.

Source: Prechelt (1998), "Early stopping – but when?", the criterion UP_s counted from the best evaluation.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class EarlyStopping:
    """Count of a run's periodic evaluations without improvement; part of its checkpoints.

    Attributes:
        best: lowest value so far.
        since: step of that evaluation.
        waited: evaluations after it, none of which was lower.
        seen: step of the last evaluation.
        last: value of the last evaluation; None if it had none.
    """

    best: float = math.inf
    since: int = 0
    waited: int = 0
    seen: int = 0
    last: float | None = None

    def update(self, step: int, value: float | None, counts: bool = True) -> None:
        """Take an evaluation; one without a value is no improvement once there has been a value.

        Args:
            step: of the evaluation.
            value: the monitored value; None if there is none.
            counts: whether it is one of the periodic evaluations that patience counts.
        """
        self.seen, self.last = step, value
        if value is not None and value < self.best:
            self.best, self.since, self.waited = value, step, 0
        elif counts and math.isfinite(self.best):
            self.waited += 1

    def should_stop(self, patience: int | None) -> bool:
        """True if `patience` ≥ 1 evaluations in a row brought no improvement; never for None."""
        return patience is not None and self.waited >= patience

    def reason(self, key: str) -> str:
        """Sentence that says why training ended; `key` is the monitored result."""
        times = f"{self.waited} evaluation{'s' if self.waited > 1 else ''}"
        return f"early stopping: {key} has not improved for {times}, since step {self.since}"

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "EarlyStopping":
        """Continue from a stored state."""
        return cls(**state)
