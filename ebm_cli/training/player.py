"""A player: parameters with an optimizer and a schedule of their own, updated together by one loss."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ebm_cli.optim.clip import clip_
from ebm_cli.optim.flat import Flat
from ebm_cli.optim.fused_adam import make_step
from ebm_cli.system.ranks import ONE, Ranks

MakeSchedule = Callable[[Optimizer], LRScheduler]


class Player:
    """One or more parameters of a run that learn together.

    Args:
        parameters: on one device and of one dtype.
        optimizer: of these parameters, in this order.
        make_schedule: builds the schedule of the optimizer.
        ranks: the processes that the gradient is averaged over, all of it at once. (An absent gradient is 0 in the
            buffer: nothing waits for a parameter that no process has a gradient of, such as a last bias in score
            matching.)

    Raises:
        ValueError: the parameters have several dtypes or devices, or the optimizer steps by a closure.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        optimizer: Optimizer,
        make_schedule: MakeSchedule,
        ranks: Ranks = ONE,
    ) -> None:
        self.flat = Flat(parameters)
        self._ranks = ranks
        self.optimizer = optimizer
        self.update_values = make_step(optimizer, self.flat)
        self._make_schedule = make_schedule
        self.schedule = make_schedule(optimizer)

    def step(self, loss: Tensor, max_norm: float) -> Tensor:
        """Take one step of the optimizer on this loss; returns the norm of the gradient before clipping."""
        self.flat.backward(loss)
        self._ranks.mean_(self.flat.gradients)
        return self.update(max_norm)

    def update(self, max_norm: float) -> Tensor:
        """The same from the gradients that are in the buffer."""
        norm = clip_(self.flat, max_norm)
        self.update_values()
        return norm

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def restart(self, lr: float, make_schedule: MakeSchedule) -> None:
        """Begin anew from the present parameters, with another learning rate and another schedule."""
        # Another object, by which the step sees that the state has changed.
        self.optimizer.state = defaultdict(dict)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] = lr
        self.follow(make_schedule)
        self.replay_schedule(0)

    def follow(self, make_schedule: MakeSchedule) -> None:
        """Take this schedule from the next `replay_schedule` on."""
        self._make_schedule = make_schedule

    def scale_learning_rate(self, factor: float) -> None:
        """Multiply the learning rate that the schedule starts from; takes effect with `replay_schedule`."""
        for group in self.optimizer.param_groups:
            group["initial_lr"] *= factor

    def replay_schedule(self, n_steps: int) -> None:
        """Rebuild the schedule and advance it by this many steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self.schedule = self._make_schedule(self.optimizer)
        for _ in range(n_steps):
            self.schedule.step()
