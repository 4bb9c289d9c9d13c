"""The history of a run over all processes that trained it, beside the trainer's state; part of its checkpoints."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ebm_cli.training.early_stopping import EarlyStopping
from ebm_cli.training.guard import Diverged

MAX_ROLLBACKS = 5
"""Rollbacks before the run ends as diverged."""
RATE_FACTOR = 0.25
"""Factor on the learning rates at each rollback; five of them make a thousandth."""
STEP_FACTOR = 0.25
"""Factor on the step size of unadjusted chains at a rollback that lowers it."""


@dataclass
class Clock:
    """Seconds of training, over all processes that trained the run.

    Attributes:
        before: seconds before `began`.
        began: when this process began to train, in the time of `time.monotonic`.
    """

    before: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        """Count from now."""
        self.began = time.monotonic()

    def skip(self, seconds: float) -> None:
        """Leave out seconds that went to another run."""
        self.began += seconds

    def read(self) -> float:
        """Seconds so far."""
        return self.before + time.monotonic() - self.began


class Rollbacks:
    """The rollbacks of a run.

    Args:
        history: those behind the state that the run continues from.

    Attributes:
        history: one plain dict of `step`, `to` and `reason` for each rollback, as in status.json and checkpoints.
    """

    def __init__(self, history: list[dict[str, Any]] | None = None) -> None:
        self.history = list(history or [])

    @property
    def attempts_left(self) -> int:
        """Rollbacks that the run may still make."""
        return MAX_ROLLBACKS - len(self.history)

    def since(self, state: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rollbacks after a checkpoint's `state` was written."""
        return self.history[len(state.get("rollbacks", [])) :]

    def failures_from(self, step: int) -> int:
        """The tries from the checkpoint of a step, all of which have failed."""
        return sum(entry["to"] == step for entry in self.history)

    def step_factor(self, state: Mapping[str, Any], lowers: bool) -> float:
        """The factor on the chains' step size stored in a checkpoint's `state`, if the next rollback `lowers` it."""
        before = sum(bool(entry.get("shortened")) for entry in self.since(state))
        return float(STEP_FACTOR ** (before + lowers))

    def record(
        self, error: Diverged, state: Mapping[str, Any], is_shortened: bool = False, lowers_rates: bool = True
    ) -> float:
        """Record a rollback to a checkpoint's `state`.

        Args:
            error: the divergence.
            state: of the checkpoint.
            is_shortened: whether it lowers the step size of the chains.
            lowers_rates: whether it lowers the learning rates.

        Returns:
            The factor on the learning rates stored there: RATE_FACTOR for each rollback since it was written that
            lowers them.
        """
        entry: dict[str, Any] = {"step": error.step, "to": int(state["step"]), "reason": str(error)}
        if is_shortened:
            # Absent in an entry that lowers the rates alone, as in those of earlier versions.
            entry |= {"shortened": True, "lowers_rates": lowers_rates}
        self.history.append(entry)
        lowered = sum(bool(entry.get("lowers_rates", True)) for entry in self.since(state))
        return float(RATE_FACTOR**lowered)

    @property
    def rate_factor(self) -> float:
        """The factor that all rollbacks together have put on the learning rates."""
        return float(RATE_FACTOR ** sum(bool(entry.get("lowers_rates", True)) for entry in self.history))

    def describe(self) -> str:
        """Sentence about the last rollback, for the user."""
        last = self.history[-1]
        lowered = [f"learning rates times {RATE_FACTOR}"] if last.get("lowers_rates", True) else []
        lowered += [f"step size of the chains times {STEP_FACTOR}"] if last.get("shortened") else []
        attempt = f"try {len(self.history)} of {MAX_ROLLBACKS}"
        return f"{last['reason']}: back to step {last['to']}, {', '.join(lowered)}, {attempt}"


@dataclass
class History:
    """The past of one run.

    Attributes:
        monitored: key of the monitored result.
        rollbacks: to earlier checkpoints.
        stopping: periodic evaluations without improvement.
        best: lowest monitored value so far: that of best.pt.
        clock: time spent.
    """

    monitored: str
    rollbacks: Rollbacks
    stopping: EarlyStopping = field(default_factory=EarlyStopping)
    best: float = math.inf
    clock: Clock = field(default_factory=Clock)

    def state_dict(self) -> dict[str, Any]:
        """Plain values. `load_state_dict` leaves the rollbacks as they are: a rollback must not undo its own record."""
        return {
            "best": self.best,
            "monitored": self.monitored,
            "stopping": self.stopping.state_dict(),
            "rollbacks": self.rollbacks.history,
            "seconds": self.clock.read(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint's state.

        What was monitored then may be another result than now: its values cannot be compared and are dropped. The best
        value comes from best.pt, which may be newer (`Checkpointer.restore`).
        """
        self.clock.before = float(state["seconds"])
        if state.get("monitored") == self.monitored:
            self.stopping = EarlyStopping.from_state_dict(state["stopping"])
