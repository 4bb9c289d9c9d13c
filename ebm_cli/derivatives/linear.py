"""Rules of the linear layers: matrix products, convolutions, average pooling, changes of shape."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ebm_cli.derivatives.jet import Jet, Pullback, VjpFn
from ebm_cli.derivatives.matmul import NARROW, lay_out, product, product_by


class Linear(nn.Linear):
    """A linear layer that chooses the fastest product (`matmul`)."""

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.weight, self.bias)


def linear_vjp(module: nn.Linear) -> VjpFn:
    """h ← W h + b, and back by Wᵀ."""
    weight = lay_out(module.weight)
    forward, back = product_by(weight, module.bias), product_by(weight.t())
    return lambda x: (partial(forward, x), back)


def linear(module: nn.Linear, jet: Jet) -> tuple[Jet, Pullback]:
    """h ← W h + b, J ← W J, L ← W L, and back by Wᵀ."""
    weight, bias = lay_out(module.weight), module.bias
    stacks = torch.compiler.is_compiling() and weight.shape[1] >= NARROW
    if stacks and jet.first is not None and jet.first.shape[1] == len(jet.value):
        return _stacked(weight, bias, jet), lambda g: product(g, weight.t())
    value, by_weight = product(jet.value, weight, bias), product_by(weight)
    first = by_weight(jet.first) if jet.first is not None and jet.needs_first else None
    second = None if jet.second is None else by_weight(jet.second)
    return Jet(value, first, second), lambda g: product(g, weight.t())


def _stacked(weight: Tensor, bias: Tensor | None, jet: Jet) -> Jet:
    """One product of all parts: compiled code writes them into the stack, where eager code would have to copy them."""
    parts = [jet.value.unsqueeze(0), jet.first if jet.needs_first else None]
    parts.append(None if jet.second is None else jet.second.unsqueeze(0))
    out = product(torch.cat([part for part in parts if part is not None]), weight)
    first = out[1:] if jet.second is None else out[1:-1]
    return Jet(
        out[0] if bias is None else out[0] + bias,
        first if jet.needs_first else None,
        None if jet.second is None else out[-1],
    )


def conv2d(module: nn.Conv2d, jet: Jet) -> tuple[Jet, Pullback]:
    """Three convolutions; one of the stacked jet is no faster, because stacking copies the largest part.

    The pullback is the transposed convolution; `output_padding` restores the rows and columns that the stride skips at
    the far edge.
    """
    weight, sizes = module.weight, jet.value.shape[2:]
    stride, padding, dilation = (_pair(setting) for setting in (module.stride, module.padding, module.dilation))

    def convolve(x: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv2d(x, weight, bias, stride, padding, dilation, module.groups)

    axes = zip(sizes, padding, dilation, weight.shape[2:], stride, strict=True)
    skipped = [(size + 2 * p - d * (k - 1) - 1) % s for size, p, d, k, s in axes]

    def pullback(g: Tensor) -> Tensor:
        return F.conv_transpose2d(g, weight, None, stride, padding, skipped, module.groups, dilation)

    return _linear_jet(convolve(jet.value, module.bias), convolve, jet), pullback


def avg_pool2d(module: nn.AvgPool2d, jet: Jet) -> tuple[Jet, Pullback]:
    """The same average pooling of each part."""
    x = jet.value
    size, stride, padding = (_pair(setting) for setting in (module.kernel_size, module.stride, module.padding))
    rest = module.ceil_mode, module.count_include_pad, module.divisor_override

    def pullback(g: Tensor) -> Tensor:
        back: Tensor = torch.ops.aten.avg_pool2d_backward(g, x[: len(g)], size, stride, padding, *rest)
        return back

    return _linear_jet(module(x), module, jet), pullback


def _linear_jet(value: Tensor, linear: Callable[[Tensor], Tensor], jet: Jet) -> Jet:
    """The jet behind a linear map of images, to which directions are a larger batch."""
    first = None
    if jet.first is not None and jet.needs_first:
        first = linear(jet.first.flatten(0, 1)).unflatten(0, jet.first.shape[:2])
    return Jet(value, first, None if jet.second is None else linear(jet.second))


def flatten(module: nn.Flatten, jet: Jet) -> tuple[Jet, Pullback]:
    """Each part as one row a point."""
    return _reshaped(jet, jet.value.shape[1:].numel())


def unflatten(module: nn.Unflatten, jet: Jet) -> tuple[Jet, Pullback]:
    """Each part in the module's shape."""
    return _reshaped(jet, *module.unflattened_size)


def _reshaped(jet: Jet, *shape: int) -> tuple[Jet, Pullback]:
    before = jet.value.shape
    first = None if jet.first is None else jet.first.reshape(*jet.first.shape[:2], *shape)
    second = None if jet.second is None else jet.second.reshape(before[0], *shape)
    return Jet(jet.value.reshape(before[0], *shape), first, second), lambda g: g.reshape(-1, *before[1:])


def _pair(setting: Any) -> list[int]:
    return [setting, setting] if isinstance(setting, int) else list(setting)
