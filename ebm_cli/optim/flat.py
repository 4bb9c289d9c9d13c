"""Parameters in one buffer, and their gradients in another.

What the loop does to all parameters alike (the norm of the gradient, Adam's update, the moving average) is then one
kernel each, and not one a parameter: on a small network most of a kernel's time is its start.
"""

from collections.abc import Sequence
from itertools import compress, pairwise

import torch
from torch import Tensor, nn

from ebm_cli.system.torch_internals import foreach_copy_

LINE = 64
"""Bytes that a parameter's place is a multiple of: a line of the cache."""


class Flat:
    """Parameters that are moved into one buffer; they stay the same objects, of the same values, in the same layout.

    What is written to the buffer is not seen by autograd's check for changed parameters: no graph outlives a step here.
    What lies between two places is 0 in `gradients`, as is the place of a parameter without one, and enters nothing.

    Args:
        parameters: of one device and one type; there may be none.

    Attributes:
        values: the buffer of the parameters.
        gradients: that of the gradients that `backward` took.
        places: the part of `gradients` of each parameter, in its shape.
        taken: those of them that hold a gradient.
        found: whether each parameter had a gradient; another list where that has changed.

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
        # Of kernels of images the channels come last, and must go on to do so.
        self._strides = [torch.empty_like(parameter).stride() for parameter in self.parameters]
        self.values = torch.zeros(self._starts[-1], dtype=dtype, device=device)
        self.gradients = torch.zeros_like(self.values)
        self.places = self.split(self.gradients)
        self.found: list[bool] = []
        self.taken: list[Tensor] = []
        for parameter, place in zip(self.parameters, self.split(self.values), strict=True):
            place.copy_(parameter)
            parameter.data = place

    def split(self, buffer: Tensor) -> list[Tensor]:
        """A buffer like `values` → its part of each parameter, in its shape; views."""
        parts = zip(self.parameters, self._strides, self._starts[:-1], strict=True)
        return [buffer.as_strided(p.shape, stride, start) for p, stride, start in parts]

    def together(self) -> list[slice]:
        """What lies together of a buffer and belongs to parameters that have a gradient."""
        parts: list[slice] = []
        for (start, stop), found in zip(pairwise(self._starts), self.found, strict=True):
            if found and parts and parts[-1].stop == start:
                parts[-1] = slice(parts[-1].start, stop)
            elif found:
                parts.append(slice(start, stop))
        return parts

    def backward(self, loss: Tensor) -> None:
        """Take ∂loss/∂θ into `gradients`, 0 for a parameter that the loss does not depend on.

        The `grad` of the parameters has no part in it.

        Raises:
            ValueError: it depends on none.
        """
        given = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        found = [gradient is not None for gradient in given]
        with torch.no_grad():
            if found != self.found:
                self._choose(found)
            foreach_copy_(self.taken, [gradient for gradient in given if gradient is not None])

    def _choose(self, found: list[bool]) -> None:
        if not any(found):
            raise ValueError("the loss depends on no parameter of its player")
        self.gradients.zero_()
        self.found, self.taken = found, list(compress(self.places, found))

    def hand_back(self) -> None:
        """Give each parameter that has a gradient its part of `gradients`, for an optimizer that looks there."""
        for parameter, place in zip(compress(self.parameters, self.found), self.taken, strict=True):
            parameter.grad = place

    def forget(self) -> None:
        """Leave the parameters without a gradient."""
        for parameter in self.parameters:
            parameter.grad = None
