"""Step-size back-off: shorter steps for chains that accept too few proposals.

With a step that is too long for the energy an exact kernel accepts nothing: chains from data do not move, chains from
noise stay noise, and the energy runs away from them. Therefore the step size is multiplied by a factor c ≤ 1. With α
the mean acceptance of the last UPDATE_EVERY training steps and δ the target rate of the kernel,

    c ← min(1, c exp(g (α − LOW_ACCEPTANCE δ))),     g = SHRINK_GAIN where c shrinks, 1 where it grows.

The step shrinks faster than it grows back, since the energy does not wait. An exact kernel stays exact at any step.
"""

import math
from dataclasses import replace

from torch import Tensor

from ebm_cli.samplers import Kernel
from ebm_cli.system.ranks import ONE, Ranks

UPDATE_EVERY = 5
"""Training steps between two updates; an update waits for the device."""
LOW_ACCEPTANCE = 0.5
"""Fraction of the target rate below which steps are shortened."""
SHRINK_GAIN = 5.0


class StepBackoff:
    """A factor of a kernel's step size that follows the kernel's acceptance.

    It is kept on the host, so that reading it does not wait for the device.

    Args:
        target: acceptance rate δ in (0, 1); None, for a kernel without a correction, leaves the factor as it is.

    Attributes:
        factor: c in (0, 1].
        n_steps: training steps so far.
    """

    def __init__(self, target: float | None) -> None:
        self.target = target
        self.factor = 1.0
        self.n_steps = 0

    def update(self, accepted: Tensor, ranks: Ranks = ONE) -> None:
        """Begin a training step: adapt the factor if it is due.

        Args:
            accepted: sum of the mean acceptances of the steps since the last update [], zeroed in place by an update.
            ranks: the processes whose chains have this step size, all of which must be asked.
        """
        if self.target is not None and self.n_steps and self.n_steps % UPDATE_EVERY == 0:
            acceptance = float(ranks.mean(accepted)) / UPDATE_EVERY
            if math.isfinite(acceptance):
                excess = acceptance - LOW_ACCEPTANCE * self.target
                self.factor = min(1.0, self.factor * math.exp(SHRINK_GAIN * excess if excess < 0 else excess))
            accepted.zero_()
        self.n_steps += 1

    def apply(self, kernel: Kernel) -> Kernel:
        """The kernel with its step size multiplied by the factor; the kernel itself at factor 1."""
        return kernel if self.factor == 1 else replace(kernel, step_size=kernel.step_size * self.factor)

    def state_dict(self) -> dict[str, int | float]:
        """State for a checkpoint."""
        return {"step": self.n_steps, "shortened": self.factor}

    def load_state_dict(self, state: dict[str, int | float]) -> None:
        """Restore the state that `state_dict` returned."""
        self.n_steps, self.factor = int(state["step"]), float(state["shortened"])
