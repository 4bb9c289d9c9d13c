"""The parameters of a player in one buffer, and their gradients in another.

What the loop does to all parameters alike (the norm of the gradient, Adam's update, the moving average) is then one
kernel each, and not one a parameter: on a small network most of a kernel's time is its start.
"""

from collections.abc import Sequence
from itertools import compress
from typing import TypeVar

import torch
from torch import Tensor, nn

_T = TypeVar("_T")

LINE = 64
"""Bytes that a parameter's place is a multiple of: a line of the cache."""


class Flat:
    """Parameters that are moved into one buffer; they stay the same objects, of the same values.

    Between the places of two parameters are zeros, which gradients of zero leave what they are.

    Args:
        parameters: of one device and one type; there may be none.

    Raises:
        ValueError: parameters of several types or devices.
    """

    @torch.no_grad()
    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        kinds = {(p.dtype, p.device) for p in self.parameters}
        if len(kinds) > 1:
            raise ValueError(f"parameters must be of one type and on one device, got {sorted(map(str, kinds))}")
        dtype, device = next(iter(kinds), (torch.get_default_dtype(), torch.device("cpu")))
        step = max(1, LINE // dtype.itemsize)
        self._starts = [0]
        for parameter in self.parameters:
            self._starts.append(self._starts[-1] + -(-parameter.numel() // step) * step)
        self.values = torch.zeros(self._starts[-1], dtype=dtype, device=device)
        self.gradients = torch.zeros_like(self.values)
        self.complete = False
        """Whether each parameter had a gradient when they were gathered."""
        self._found: list[bool] = []
        self._gradients = self.split(self.gradients)
        for parameter, place in zip(self.parameters, self.split(self.values), strict=True):
            place.copy_(parameter)
            parameter.data = place

    def split(self, buffer: Tensor) -> list[Tensor]:
        """A buffer like `values` → its part of each parameter, in its shape; views."""
        parts = zip(self.parameters, self._starts[:-1], strict=True)
        return [buffer[start : start + p.numel()].view(p.shape) for p, start in parts]

    def backward(self, loss: Tensor) -> None:
        """Take ∂loss/∂θ into `gradients`; 0 for a parameter that the loss does not depend on, and then not complete.

        The parameters themselves are left without a gradient.
        """
        loss.backward(inputs=self.parameters)
        found = [parameter.grad for parameter in self.parameters]
        present = [gradient for gradient in found if gradient is not None]
        self.complete = len(present) == len(found)
        with torch.no_grad():
            if not self.complete:
                self._found = [gradient is not None for gradient in found]
                self.gradients.zero_()
            torch._foreach_copy_(self._present(self._gradients), present)
        self.forget()

    def hand_back(self) -> None:
        """Give each parameter that has a gradient its part of `gradients`, for an optimizer that looks there."""
        for parameter, place in zip(self._present(self.parameters), self._present(self._gradients), strict=True):
            parameter.grad = place

    def forget(self) -> None:
        """Leave the parameters without a gradient: a next one would be added to it."""
        for parameter in self.parameters:
            parameter.grad = None

    def _present(self, each: list[_T]) -> list[_T]:
        return each if self.complete else list(compress(each, self._found))
