"""A player's optimizer, stepped: Adam on the whole buffer of its parameters, any other as torch has it."""

from typing import Any

import torch
from torch.optim import Adam, AdamW, Optimizer

from ebm_cli.optimizers import Step, stepped
from ebm_cli.training.flat import Flat


def update(optimizer: Optimizer, flat: Flat) -> Step:
    """The step of this optimizer from `flat.gradients`; which it is, its groups decide as they are now.

    Args:
        optimizer: of these parameters, in this order.
        flat: where they are.
    """
    whole = stepped(optimizer)

    def step() -> None:
        flat.hand_back()
        whole()
        flat.forget()

    groups = optimizer.param_groups
    fused = type(optimizer) in (Adam, AdamW) and len(groups) == 1 and groups[0]["fused"] and not groups[0]["amsgrad"]
    # torch's own for its Adam, and not ours: where it is missing, Adam is torch's as a whole.
    known = hasattr(torch, "_fused_adam_") and hasattr(torch, "_fused_adamw_")
    return FlatAdam(optimizer, flat, step) if fused and known else step


class FlatAdam:
    """A step of Adam or AdamW as torch's fused kernel on one tensor, that of all parameters.

    The optimizer's state is torch's own, a mean, a mean square and a count a parameter; they are views of one tensor of
    each, as the parameters are. Where a parameter has no gradient, or had none in an earlier step, its update is not
    that of the others, and torch's own step is taken.

    Args:
        optimizer: with fused=True and without amsgrad.
        flat: where its parameters are.
        whole: the optimizer's own step.
    """

    def __init__(self, optimizer: Optimizer, flat: Flat, whole: Step) -> None:
        self._optimizer, self._flat, self._whole = optimizer, flat, whole
        self._held: object = None
        self._uneven: object = None

    @torch.no_grad()
    def __call__(self) -> None:
        # A state that was loaded is another one.
        state = self._optimizer.state
        if not self._flat.complete:
            self._uneven = state
        if state is self._uneven or (state is not self._held and not self._hold()):
            self._whole()
            return
        (group,) = self._optimizer.param_groups
        beta1, beta2 = group["betas"]
        self._counts.add_(1)
        kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
        kernel(
            [self._flat.values],
            [self._flat.gradients],
            [self._means],
            [self._squares],
            [],
            [self._count],
            amsgrad=False,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
            grad_scale=None,
            found_inf=None,
        )

    def _hold(self) -> bool:
        """Move the optimizer's state into one tensor of each kind; False where it has none yet, or uneven counts."""
        state = self._optimizer.state
        each: list[dict[str, Any]] = [state.get(parameter, {}) for parameter in self._flat.parameters]
        if any(not own for own in each):
            return False
        self._counts = torch.stack([own["step"] for own in each])
        if bool((self._counts != self._counts[0]).any()):
            self._uneven = state
            return False
        self._count = self._counts[0]
        self._means, self._squares = torch.zeros_like(self._flat.values), torch.zeros_like(self._flat.values)
        views = zip(self._counts, self._flat.split(self._means), self._flat.split(self._squares), strict=True)
        for own, (count, mean, square) in zip(each, views, strict=True):
            mean.copy_(own["exp_avg"])
            square.copy_(own["exp_avg_sq"])
            own |= {"step": count, "exp_avg": mean, "exp_avg_sq": square}
        self._held = state
        return True
