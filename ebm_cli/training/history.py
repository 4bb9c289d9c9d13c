"""The history of a run over all processes that trained it, beside the trainer's state; part of its checkpoints."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ebm_cli.training.early_stopping import EarlyStopping
from ebm_cli.training.rollback import Rollbacks


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

    def read(self) -> float:
        """Seconds so far."""
        return self.before + time.monotonic() - self.began


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
