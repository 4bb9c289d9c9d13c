"""The decision to end training after a signal or a deadline, which all processes of a run take after the same step."""

import time

import torch

from ebm_cli.runs.signals import Signals
from ebm_cli.system.ranks import Ranks

INTERVAL = 0.25
"""Seconds between two questions to the other processes, about."""
MOST_STEPS = 1000
"""Steps between two questions, at most."""


class CommonStop:
    """Asks the other processes whether one of them has to stop, at steps that all of them know.

    The first process sets the next of these steps by its own speed. A run of one process decides after every step.

    Args:
        ranks: the processes.
        step: that they begin at.
    """

    def __init__(self, ranks: Ranks, step: int) -> None:
        self._ranks, self._next = ranks, step
        self._asked, self._time = step, time.monotonic()

    def is_due(self, step: int, signals: Signals, is_late: bool) -> bool:
        """True if training ends before the next step. `signals.received` is then what any process has received.

        Args:
            step: taken last.
            signals: of this process.
            is_late: whether its deadline is over.
        """
        if self._ranks.size == 1:
            return signals.received is not None or is_late
        if step < self._next:
            return False
        now = time.monotonic()
        pace = (now - self._time) / max(1, step - self._asked)
        n_steps = 1 if step == self._asked else min(MOST_STEPS, max(1, int(INTERVAL / max(pace, 1e-9))))
        own = torch.tensor([signals.received or 0, int(is_late), n_steps])
        every = torch.stack(self._ranks.gather(own))
        self._asked, self._time, self._next = step, now, step + int(every[0, 2])
        # One that arrives after `own` was made is told next time.
        signals.received = int(every[:, 0].max()) or signals.received
        return bool(every[:, :2].any())
