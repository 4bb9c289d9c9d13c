"""The return of a diverged run to a checkpoint, with smaller steps (`guard=rollback`).

A try starts at the last checkpoint, with learning rates times `RATE_FACTOR` and other random numbers. If the symptom is
that of unadjusted chains whose step is too large, which no learning rate cures, that step is lowered instead. Behind a
checkpoint from which `FAILURES` tries have failed, the next try starts at an earlier one, and lowers both. In a run
with a second phase it is that phase which may have chains, and their step is lowered for what happens in it alone.

`history.Rollbacks` records the returns; `guard` detects divergence. Nothing is written here: a run that is killed
before its next checkpoint repeats the returns, with the same numbers.
"""

from typing import Any

from ebm_cli.rng import generator
from ebm_cli.training.checkpointer import Checkpointer
from ebm_cli.training.guard import Diverged
from ebm_cli.training.history import History, Rollbacks
from ebm_cli.training.trainer import Trainer

FAILURES = 2
"""Tries from one checkpoint before the run goes further back."""
KEPT = 3
"""Numbered checkpoints that a run with rollbacks keeps at least."""


def roll_back(error: Diverged, trainer: Trainer, history: History, checkpointer: Checkpointer, seed: int) -> None:
    """Return to a checkpoint, with smaller steps and other random numbers.

    Args:
        error: the divergence.
        trainer, history: continue from the checkpoint's state; the time spent since it was written still counts.
        checkpointer: reads it.
        seed: of the run; every rollback has its own random numbers.
    """
    spent, rollbacks = history.clock.read(), history.rollbacks
    state, goes_further = _start(rollbacks, checkpointer)
    lowers_step = (error.names_step_size or goes_further) and trainer.in_last_phase
    checkpointer.restore(state)
    history.clock.before = spent
    is_shortened = trainer.last_method.shorten_steps(rollbacks.step_factor(state, lowers_step)) and lowers_step
    factor = rollbacks.record(error, state, is_shortened, lowers_rates=goes_further or not is_shortened)
    name = f"method/after {len(rollbacks.history)} rollbacks"
    trainer.slow_down(factor, generator(seed, trainer.ranks.stream(name), trainer.rng.device))


def _start(rollbacks: Rollbacks, checkpointer: Checkpointer) -> tuple[dict[str, Any], bool]:
    """State of the checkpoint that the next try starts from, and whether it lies behind one with `FAILURES` tries."""
    last = checkpointer.load_last()
    n_before, tries = len(last.get("rollbacks", [])), rollbacks.since(last)
    newest = int(tries[-1]["to"]) if tries else int(last["step"])
    state = checkpointer.load_numbered(newest, n_before) or last
    goes_further = rollbacks.failures_from(int(state["step"])) >= FAILURES
    while rollbacks.failures_from(int(state["step"])) >= FAILURES:
        earlier = checkpointer.load_numbered(int(state["step"]) - 1, n_before)
        if earlier is None:
            break
        state = earlier
    return state, goes_further
