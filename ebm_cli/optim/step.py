"""torch's optimizers, stepped with no more than their update.

`Optimizer.step` of torch 2.13 goes through hooks, a profiler's record and a check for graph capture, which on a small
network cost more than the update; and it imports torch's compiler (0.9 s), so that compiled code leaves optimizers
alone. Nothing that is compiled here holds an optimizer. Parameters, state and state_dict stay torch's own, and so do
the numbers, bit for bit: see docs/adr/0024.
"""

import inspect
from collections.abc import Callable

import torch
from torch.optim import Optimizer

Step = Callable[[], None]


def stepped(optimizer: Optimizer) -> Step:
    """The update of this optimizer from the gradients as they are, to be called in place of `optimizer.step`.

    Hooks that were registered with the optimizer are not called. A class that is not torch's own is stepped by its own
    `step`.

    Raises:
        ValueError: an optimizer that steps by a closure.
    """
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ValueError(f"optimizer must step without a closure, got {type(optimizer).__name__}")
    # The schedules of torch warn where they are ahead of `optimizer.step`: of a player whose turn has not come yet they
    # are, and this stands for it.
    optimizer._opt_called = True  # type: ignore[attr-defined]
    cls = type(optimizer)
    if not cls.__module__.startswith("torch.optim."):
        return lambda: optimizer.step()
    update = inspect.unwrap(cls.step)

    @torch.no_grad()
    def step() -> None:
        update(optimizer)

    return step


def leave_the_compiler_out() -> None:
    """Before an optimizer is made, in a process where nothing that is compiled holds one.

    Four methods of every optimizer ask torch's compiler not to look into them, by a decorator that imports it. It keeps
    what the compiler answered at the function, and asks once: this is the answer where there is no compiler. Where
    torch keeps it elsewhere, the compiler is imported, and nothing else changes.
    """
    for method in (
        Optimizer.add_param_group,
        Optimizer.load_state_dict,
        Optimizer.state_dict,
        Optimizer.zero_grad,
    ):
        plain = inspect.unwrap(method)
        plain.__dict__.setdefault("__dynamo_disable", plain)
