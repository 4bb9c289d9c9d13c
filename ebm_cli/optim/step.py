"""A step of torch's optimizers without what surrounds their update.

`Optimizer.step` of torch 2.13 calls hooks, records a profile and checks for graph capture, which on a small network
costs more than the update (38 µs); and it imports TorchDynamo (0.9 s) to keep optimizers out of compiled code. Nothing
that is compiled here holds an optimizer. Parameters, state and state_dict stay torch's own, and the numbers are the
same bit for bit (docs/adr/0024).
"""

import inspect
import warnings
from collections.abc import Callable

import torch
from torch.optim import Optimizer

from ebm_cli.system.torch_internals import unwrapped_step

Step = Callable[[], None]
"""One update of parameters from their gradients."""
LEADING = "Detected call of `lr_scheduler.step"
"""Beginning of torch's warning of a schedule that is ahead of its optimizer. Schedules advance with the global step and
are replayed on resume, so that of a player whose turn has not come yet they are."""


def fast_step(optimizer: Optimizer) -> Step:
    """The update of this optimizer from the gradients of its parameters, to be called in place of `optimizer.step`.

    Hooks that are registered with an optimizer of torch are not called. Any other class is stepped by its own `step`,
    as is every class with a version of torch that is not tested. The warning `LEADING` is switched off.

    Raises:
        ValueError: an optimizer whose step needs a closure.
    """
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ValueError(f"optimizer must step without a closure, got {type(optimizer).__name__}")
    warnings.filterwarnings("ignore", LEADING, UserWarning)
    update = unwrapped_step(optimizer)
    if update is None:
        return lambda: optimizer.step()

    @torch.no_grad()
    def step() -> None:
        update(optimizer)

    return step
