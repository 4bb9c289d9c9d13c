"""A player: parameters with an optimizer and a schedule of their own, which a loss moves together."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ebm_cli.optim.clip import clip_
from ebm_cli.optim.flat import Flat
from ebm_cli.optim.fused_adam import make_step

MakeSchedule = Callable[[Optimizer], LRScheduler]


class Player:
    """Parameters of a method, one at least.

    Args:
        parameters: of one device and one type.
        optimizer: of these parameters, in this order.
        make_schedule: builds the schedule of the optimizer.

    Raises:
        ValueError: parameters of several types or devices, or an optimizer that steps by a closure.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], optimizer: Optimizer, make_schedule: MakeSchedule) -> None:
        self.flat = Flat(parameters)
        self.optimizer = optimizer
        self._update = make_step(optimizer, self.flat)
        self._make_schedule = make_schedule
        self.schedule = make_schedule(optimizer)

    def step(self, loss: Tensor, largest: float) -> Tensor:
        """One step of the optimizer down this loss; the norm of the gradient, as it was before it was clipped."""
        self.flat.backward(loss)
        norm = clip_(self.flat, largest)
        self._update()
        return norm

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def slow_down(self, factor: float) -> None:
        """Multiply what the schedule starts from; it is to be replayed then."""
        for group in self.optimizer.param_groups:
            group["initial_lr"] *= factor

    def replay(self, n_steps: int) -> None:
        """Have the schedule where it is after so many steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self.schedule = self._make_schedule(self.optimizer)
        for _ in range(n_steps):
            self.schedule.step()
