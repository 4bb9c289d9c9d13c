"""The step of a player's optimizer: Adam's on the buffer of its parameters, any other as torch takes it."""

from collections.abc import Sequence
from itertools import compress
from typing import Any

import torch
from torch.optim import Adam, AdamW, Optimizer

from ebm_cli.optim.flat import Flat
from ebm_cli.optim.step import Step, fast_step
from ebm_cli.system.torch_internals import FUSED_ADAM, Kernel


def make_step(optimizer: Optimizer, flat: Flat) -> Step:
    """The step of this optimizer from `flat.gradients`: of the buffer for fused Adam and AdamW, else by parameter.

    Args:
        optimizer: of these parameters, in this order; its groups have their final settings.
        flat: the parameters.

    Raises:
        ValueError: an optimizer whose step needs a closure.
    """
    by_parameter = fast_step(optimizer)

    def step() -> None:
        flat.expose_grads()
        by_parameter()
        flat.clear_grads()

    groups = optimizer.param_groups
    fused = type(optimizer) in (Adam, AdamW) and len(groups) == 1 and groups[0]["fused"] and not groups[0]["amsgrad"]
    return FlatAdam(optimizer, flat, step, FUSED_ADAM) if fused and FUSED_ADAM is not None else step


@torch.no_grad()
def step_together(steps: Sequence[Step]) -> None:
    """Take the steps of several optimizers, in one call of the kernel if all are `FlatAdam` with equal settings."""
    flat = [step for step in steps if isinstance(step, FlatAdam)]
    settings = [{key: value for key, value in step.group.items() if key != "params"} for step in flat]
    alike = len(flat) == len(steps) and all(own == settings[0] for own in settings)
    if alike and all(step.is_packed() for step in flat):
        _update(flat)
    else:
        for step in steps:
            step()


def _update(steps: "Sequence[FlatAdam]") -> None:
    """The kernel on the buffers of these optimizers, which have equal settings."""
    group = steps[0].group
    beta1, beta2 = group["betas"]
    for step in steps:
        step.counts.add_(1)
    kernel = steps[0].adamw if group["decoupled_weight_decay"] else steps[0].adam
    values, gradients, means, squares = ([part for step in steps for part in step.slices[i]] for i in range(4))
    kernel(
        values,
        gradients,
        means,
        squares,
        [],
        [count for step in steps for count in step.count],
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


class FlatAdam:
    """A step of Adam or AdamW: torch's fused kernel on the contiguous slices of the buffer, in most cases a single one.

    A parameter without a gradient is left out, as torch does, and the slices on both sides of it are stepped. (In
    score matching no derivative in x depends on the last bias.)

    The optimizer's state stays torch's own, a mean, a mean square and a count a parameter; they are views of one tensor
    each, as the parameters are. Where the parameters have not been stepped equally often, or never yet, the optimizer's
    own step is taken.

    Args:
        optimizer: with fused=True and without amsgrad.
        flat: its parameters.
        by_parameter: the optimizer's own step.
        kernels: the updates of Adam and of AdamW.
    """

    def __init__(self, optimizer: Optimizer, flat: Flat, by_parameter: Step, kernels: tuple[Kernel, Kernel]) -> None:
        self._optimizer, self._flat, self._by_parameter = optimizer, flat, by_parameter
        self.adam, self.adamw = kernels
        self._packed: tuple[object, object] | None = None
        self._uneven: tuple[object, object] | None = None

    @torch.no_grad()
    def __call__(self) -> None:
        if self.is_packed():
            _update([self])
        else:
            self._by_parameter()

    def is_packed(self) -> bool:
        """True if the state is in one tensor of each kind, where it is moved if need be; False if torch must step."""
        # A loaded state is another object, and so is the list `has_grad` where it has changed.
        if self._is_current(self._packed):
            return True
        packed = self._packed
        if packed is not None and packed[0] is self._optimizer.state and packed[1] == self._flat.has_grad:
            # The buffers of the parameters have moved; those of the state are as they were.
            self._slice()
            return True
        return not self._is_current(self._uneven) and self._pack()

    @property
    def group(self) -> dict[str, Any]:
        """The settings of the optimizer, as they are now."""
        group: dict[str, Any] = self._optimizer.param_groups[0]
        return group

    def _is_current(self, of: tuple[object, object] | None) -> bool:
        return of is not None and of[0] is self._optimizer.state and of[1] is self._flat.has_grad

    def _pack(self) -> bool:
        """Move the state of parameters with a gradient into one tensor of each kind; False where torch must step."""
        flat, state = self._flat, self._optimizer.state
        self._packed = self._uneven = None
        states: list[dict[str, Any]] = [state.get(p, {}) for p in compress(flat.parameters, flat.has_grad)]
        if any(not own for own in states):
            return False
        self.counts = torch.stack([own["step"] for own in states])
        if bool((self.counts != self.counts[0]).any()):
            self._uneven = state, flat.has_grad
            return False
        means, squares = torch.zeros_like(flat.values), torch.zeros_like(flat.values)
        parts = zip(flat.split(means), flat.split(squares), strict=True)
        for own, count, (mean, square) in zip(states, self.counts, compress(parts, flat.has_grad), strict=True):
            mean.copy_(own["exp_avg"])
            square.copy_(own["exp_avg_sq"])
            own |= {"step": count, "exp_avg": mean, "exp_avg_sq": square}
        self._moments = means, squares
        self._slice()
        return True

    def _slice(self) -> None:
        """Take the slices of the present buffers."""
        flat = self._flat
        slices = flat.contiguous_slices()
        self.slices = [[buffer[part] for part in slices] for buffer in (flat.values, flat.gradients, *self._moments)]
        self.count = [self.counts[0]] * len(slices)
        self._packed = self._optimizer.state, flat.has_grad
