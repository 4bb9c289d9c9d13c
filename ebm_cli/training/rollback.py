"""The return of a diverged run to its last checkpoint, with lower learning rates (`guard=rollback`).

`history.Rollbacks` counts the returns; `guard` detects divergence.
"""

from ebm_cli.rng import generator
from ebm_cli.training.checkpointer import Checkpointer
from ebm_cli.training.guard import Diverged
from ebm_cli.training.history import History
from ebm_cli.training.trainer import Trainer


def roll_back(error: Diverged, trainer: Trainer, history: History, checkpointer: Checkpointer, seed: int) -> None:
    """Return to the last checkpoint, with lower learning rates and other random numbers.

    Args:
        error: the divergence.
        trainer, history: continue from the checkpoint's state; the time spent since it was written still counts.
        checkpointer: reads it.
        seed: of the run; every rollback has its own random numbers.
    """
    spent, state = history.clock.read(), checkpointer.load_last()
    factor = history.rollbacks.record(error, state)
    checkpointer.restore(state)
    history.clock.before = spent
    name = f"method/after {len(history.rollbacks.history)} rollbacks"
    trainer.slow_down(factor, generator(seed, name, trainer.rng.device))
