"""Going back: what a run that diverged is given for another try."""

from typing import Any

from ebm_cli.training.guard import Diverged

TRIES = 5
"""Returns before the run is given up."""
SLOWER = 0.25
"""What each return multiplies the learning rates by: five of them make a thousandth."""


class Rollbacks:
    """The returns of a run to a checkpoint: each a plain dict of `step`, `to` and `reason`, for status.json.

    Args:
        done: those that the state that the run goes on from has behind it.
    """

    def __init__(self, done: list[dict[str, Any]] | None = None) -> None:
        self.done = list(done or [])

    def may(self) -> bool:
        """Whether another try is left."""
        return len(self.done) < TRIES

    def back(self, error: Diverged, state: dict[str, Any]) -> float:
        """Note a return to `state`; the factor on the learning rates that are stored there, of all returns since."""
        before = len(state.get("rollbacks", []))
        self.done.append({"step": error.step, "to": int(state["step"]), "reason": str(error)})
        return float(SLOWER ** (len(self.done) - before))

    def sentence(self) -> str:
        """The last return, for a person."""
        last = self.done[-1]
        to = f"back to step {last['to']}, learning rates times {SLOWER}, try {len(self.done)} of {TRIES}"
        return f"{last['reason']}: {to}"
