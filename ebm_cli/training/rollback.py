"""Rollbacks: a diverged run returns to its last checkpoint and tries again with lower learning rates."""

from typing import Any

from ebm_cli.training.guard import Diverged

MAX_ROLLBACKS = 5
"""Rollbacks before the run ends as diverged."""
RATE_FACTOR = 0.25
"""Factor on the learning rates at each rollback; five of them make a thousandth."""


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

    def record(self, error: Diverged, state: dict[str, Any]) -> float:
        """Record a rollback to a checkpoint's `state`.

        Returns:
            The factor on the learning rates stored there: RATE_FACTOR for each rollback since it was written.
        """
        before = len(state.get("rollbacks", []))
        self.history.append({"step": error.step, "to": int(state["step"]), "reason": str(error)})
        return float(RATE_FACTOR ** (len(self.history) - before))

    def describe(self) -> str:
        """Sentence about the last rollback, for the user."""
        last = self.history[-1]
        to = (
            f"back to step {last['to']}, learning rates times {RATE_FACTOR}, try {len(self.history)} of {MAX_ROLLBACKS}"
        )
        return f"{last['reason']}: {to}"
