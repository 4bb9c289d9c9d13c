"""A player's optimizer, stepped: Adam on the buffer of its parameters, any other as torch has it."""

from itertools import compress
from typing import Any

import torch
from torch.optim import Adam, AdamW, Optimizer

from ebm_cli.optim.flat import Flat
from ebm_cli.optim.step import Step, fast_step
from ebm_cli.system.torch_internals import FUSED_ADAM, Kernel


def update(optimizer: Optimizer, flat: Flat) -> Step:
    """The step of this optimizer from `flat.gradients`; which it is, its groups decide as they are now.

    Args:
        optimizer: of these parameters, in this order.
        flat: where they are.

    Raises:
        ValueError: an optimizer that steps by a closure.
    """
    whole = fast_step(optimizer)

    def step() -> None:
        flat.hand_back()
        whole()
        flat.forget()

    groups = optimizer.param_groups
    fused = type(optimizer) in (Adam, AdamW) and len(groups) == 1 and groups[0]["fused"] and not groups[0]["amsgrad"]
    return FlatAdam(optimizer, flat, step, FUSED_ADAM) if fused and FUSED_ADAM is not None else step


class FlatAdam:
    """A step of Adam or AdamW as torch's fused kernel on what lies together of the buffer: all of it, or nearly.

    A parameter without a gradient (of score matching the last bias: no derivative in x depends on it) is not stepped;
    what lies on both sides of it is.

    The optimizer's state is torch's own, a mean, a mean square and a count a parameter; they are views of one tensor of
    each, as the parameters are. Where those that are stepped have not been so equally often, or never yet, torch's own
    step is taken.

    Args:
        optimizer: with fused=True and without amsgrad.
        flat: where its parameters are.
        whole: the optimizer's own step.
        kernels: the updates of Adam and of AdamW.
    """

    def __init__(self, optimizer: Optimizer, flat: Flat, whole: Step, kernels: tuple[Kernel, Kernel]) -> None:
        self._optimizer, self._flat, self._whole = optimizer, flat, whole
        self._adam, self._adamw = kernels
        self._held: tuple[object, object] | None = None
        self._uneven: tuple[object, object] | None = None

    @torch.no_grad()
    def __call__(self) -> None:
        # A state that was loaded is another one, and so is the list of who has a gradient where that has changed.
        if not self._is(self._held) and (self._is(self._uneven) or not self._hold()):
            self._whole()
            return
        (group,) = self._optimizer.param_groups
        beta1, beta2 = group["betas"]
        self._counts.add_(1)
        kernel = self._adamw if group["decoupled_weight_decay"] else self._adam
        values, gradients, means, squares = self._parts
        kernel(
            values,
            gradients,
            means,
            squares,
            [],
            self._count,
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

    def _is(self, of: tuple[object, object] | None) -> bool:
        return of is not None and of[0] is self._optimizer.state and of[1] is self._flat.found

    def _hold(self) -> bool:
        """Move the state of those that have a gradient into one tensor of each kind; False where torch must step."""
        flat, state = self._flat, self._optimizer.state
        self._held = self._uneven = None
        each: list[dict[str, Any]] = [state.get(p, {}) for p in compress(flat.parameters, flat.found)]
        if any(not own for own in each):
            return False
        self._counts = torch.stack([own["step"] for own in each])
        if bool((self._counts != self._counts[0]).any()):
            self._uneven = state, flat.found
            return False
        means, squares = torch.zeros_like(flat.values), torch.zeros_like(flat.values)
        places = zip(compress(flat.split(means), flat.found), compress(flat.split(squares), flat.found), strict=True)
        for own, count, (mean, square) in zip(each, self._counts, places, strict=True):
            mean.copy_(own["exp_avg"])
            square.copy_(own["exp_avg_sq"])
            own |= {"step": count, "exp_avg": mean, "exp_avg_sq": square}
        together = flat.together()
        self._parts = [[buffer[part] for part in together] for buffer in (flat.values, flat.gradients, means, squares)]
        self._count = [self._counts[0]] * len(together)
        self._held = state, flat.found
        return True
