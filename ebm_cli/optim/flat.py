"""Parameters in one buffer, and their gradients in another.

What the training loop does to all parameters alike (the norm of the gradient, Adam's update, the moving average) is
then one kernel each instead of one a parameter: on a small network most of a kernel's time is its launch.
"""

from collections.abc import Sequence
from itertools import compress, pairwise

import torch
from torch import Tensor, nn

from ebm_cli.system.torch_internals import foreach_copy_

ALIGNMENT = 64
"""Bytes that the offset of a parameter is a multiple of: a cache line."""


class Flat:
    """Parameters that are moved into one buffer; they stay the same objects, with the same values, in the same layout.

    Autograd's check for changed parameters does not see writes to the buffer: no graph outlives a step here. The gaps
    between parameters are 0 in `gradients`, as is the part of a parameter without a gradient, so that they add nothing
    to a norm or an update.

    Args:
        parameters: of one device and one dtype; the list may be empty.

    Attributes:
        values: the buffer of the parameters.
        gradients: the buffer of their gradients, as `backward` has written them.
        all_views: the part of `gradients` of each parameter, in its shape.
        views: those of the parameters that have a gradient.
        has_grad: whether each parameter has a gradient; a new list whenever that has changed.

    Raises:
        ValueError: parameters of several dtypes or devices.
    """

    @torch.no_grad()
    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        kinds = {(p.dtype, p.device) for p in self.parameters}
        if len(kinds) > 1:
            raise ValueError(f"parameters must be of one type and on one device, got {sorted(map(str, kinds))}")
        dtype, device = next(iter(kinds), (torch.get_default_dtype(), torch.device("cpu")))
        step = max(1, ALIGNMENT // dtype.itemsize)
        self._starts = [0]
        for parameter in self.parameters:
            self._starts.append(self._starts[-1] + -(-parameter.numel() // step) * step)
        # Kernels of images have their channels last, and must keep that layout.
        self._strides = [torch.empty_like(parameter).stride() for parameter in self.parameters]
        self.values = torch.zeros(self._starts[-1], dtype=dtype, device=device)
        self.gradients = torch.zeros_like(self.values)
        self.all_views = self.split(self.gradients)
        self.has_grad: list[bool] = []
        self.views: list[Tensor] = []
        for parameter, view in zip(self.parameters, self.split(self.values), strict=True):
            view.copy_(parameter)
            parameter.data = view

    @torch.no_grad()
    def move(self, values: Tensor, gradients: Tensor) -> None:
        """Move the parameters and their gradients into other buffers, which are like `values` and `gradients`."""
        values.copy_(self.values)
        gradients.copy_(self.gradients)
        self.values, self.gradients, self.all_views = values, gradients, self.split(gradients)
        for parameter, view in zip(self.parameters, self.split(values), strict=True):
            parameter.data = view
        self.views = list(compress(self.all_views, self.has_grad))
        # Another list, by which the step of an optimizer sees that the buffers have changed.
        self.has_grad = list(self.has_grad)

    def split(self, buffer: Tensor) -> list[Tensor]:
        """A buffer like `values` → the part of each parameter, in its shape; views."""
        first = buffer.storage_offset()
        parts = zip(self.parameters, self._strides, self._starts[:-1], strict=True)
        return [buffer.as_strided(p.shape, stride, first + start) for p, stride, start in parts]

    def stacked(self, buffers: Tensor) -> list[Tensor]:
        """The rows of a matrix, buffers like `values` each → the part of each parameter [R, *its shape]; views."""
        parts = zip(self.parameters, self._strides, self._starts[:-1], strict=True)
        row = buffers.stride(0)
        return [buffers.as_strided((len(buffers), *p.shape), (row, *stride), start) for p, stride, start in parts]

    def contiguous_slices(self) -> list[slice]:
        """The longest slices of a buffer that hold nothing but parameters with a gradient, and gaps."""
        parts: list[slice] = []
        for (start, stop), has_grad in zip(pairwise(self._starts), self.has_grad, strict=True):
            if has_grad and parts and parts[-1].stop == start:
                parts[-1] = slice(parts[-1].start, stop)
            elif has_grad:
                parts.append(slice(start, stop))
        return parts

    def backward(self, loss: Tensor) -> None:
        """Write ∂loss/∂θ into `gradients`, 0 for a parameter that the loss does not depend on.

        The `grad` of the parameters is neither read nor written.

        Raises:
            ValueError: the loss depends on no parameter.
        """
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        has_grad = [gradient is not None for gradient in gradients]
        with torch.no_grad():
            self.select(has_grad)
            foreach_copy_(self.views, [gradient for gradient in gradients if gradient is not None])

    def select(self, has_grad: list[bool]) -> None:
        """Declare which parameters have a gradient; the gradients are 0 afterwards if that has changed.

        Raises:
            ValueError: none has.
        """
        if has_grad == self.has_grad:
            return
        if not any(has_grad):
            raise ValueError("the loss depends on no parameter of its player")
        self.gradients.zero_()
        self.has_grad, self.views = has_grad, list(compress(self.all_views, has_grad))

    def expose_grads(self) -> None:
        """Set `grad` of each parameter that has a gradient, for an optimizer that reads it there."""
        for parameter, view in zip(compress(self.parameters, self.has_grad), self.views, strict=True):
            parameter.grad = view

    def clear_grads(self) -> None:
        """Set `grad` of each parameter to None."""
        for parameter in self.parameters:
            parameter.grad = None
