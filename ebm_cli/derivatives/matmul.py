"""Products with a weight or a stack of them, each by the fastest library: one call for a narrow weight, oneDNN for a
large one.

torch takes products of matrices from MKL, which uses AVX-512 on Intel's processors alone; oneDNN, which torch takes
convolutions from, uses it on every processor that has it. On the others (AMD since Zen 4) float32 products are up to
2.3 times as fast by oneDNN. The choice follows from the processor and the sizes, never from a timing: the same call
gives the same bits.

oneDNN's linear layer is an operator that torch has for its compiler (`system.torch_internals`): where it is missing,
or computes something else, products are MKL's (docs/adr/0023).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.system.cpu_info import vendor
from ebm_cli.system.torch_internals import are_transforms_active, has_onednn_linear, linear_pointwise

MIN_PRODUCT = 2**20
"""Multiplications a thread below which oneDNN's own cost, 10 µs, is more than it saves."""
MIN_TRAINED_PRODUCT = 2**23
"""The same for a product that is differentiated, which goes through Python: 50 µs."""
MIN_WEIGHT_GRADIENT = 2**14
"""Weights below which their gradient, whose factors oneDNN must transpose, is not faster."""
NARROW = 16
"""Rows or columns of a weight below which the product is bound by memory and not by arithmetic. MKL takes up to six
times as long for it where the short side is not the slow one in memory."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b, differentiable any number of times in reverse mode, and in forward mode by `torch.func`.

    Shapes: x [..., n_in], weight [n_out, n_in], bias [n_out] → [..., n_out].
    """
    return product_by(weight, bias)(x)


def product_by(weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """x → x Wᵀ + b, for a weight of several products: what depends on the weight alone is done once."""
    n_out, n_in = weight.shape
    if n_in == 1 and bias is None:
        row = weight.t()
        return lambda x: x * (row if x.ndim > 1 else row[0])
    if n_out < NARROW:
        weight = weight.contiguous() if n_in >= NARROW else weight
        return lambda x: F.linear(x, weight, bias)
    if 1 < n_in < NARROW:
        return partial(_narrow_product, weight.t().contiguous(), bias)
    if n_in == 1 or not ONEDNN_IS_FASTER:
        return lambda x: F.linear(x, weight, bias)
    return partial(_large_product, weight, bias)


def _narrow_product(transposed: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """x Wᵀ + b by the transposed weight [n_in, n_out]."""
    return torch.addmm(bias, x, transposed) if bias is not None and x.ndim == 2 else F.linear(x, transposed.t(), bias)


def _large_product(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    trained = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias))
    if not _is_worth_onednn(x, weight, MIN_TRAINED_PRODUCT if trained else MIN_PRODUCT):
        return F.linear(x, weight, bias)
    if not trained:
        return _by_onednn(x, weight, bias)
    apply: Callable[..., Tensor] = _Product.apply
    return apply(x, weight, bias)


def stacked_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x_r W_rᵀ + b_r for every r, differentiable any number of times in reverse mode.

    Shapes: x [R, B, n_in], weight [R, n_out, n_in], bias [R, n_out] → [R, B, n_out].
    """
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)):
        apply: Callable[..., Tensor] = _Product.apply
        return apply(x, weight, bias)
    return _by_bmm(x, weight, bias)


def lay_out(weight: Tensor) -> Tensor:
    """The same weight, in the memory layout that its products and those of its transpose want: itself, or a view.

    `product` does so by itself; this is for a weight of several products.
    """
    n_out, n_in = weight.shape
    return weight.t().contiguous().t() if 1 < n_in < NARROW <= n_out else weight


def _is_worth_onednn(x: Tensor, weight: Tensor, least: int) -> bool:
    # Compiled code cannot read the number of threads, and calls the operator at less cost than a Python function.
    threads = 1 if torch.compiler.is_compiling() else torch.get_num_threads()
    return (
        x.numel() * len(weight) >= least * threads
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and (torch.compiler.is_compiling() or not are_transforms_active())
    )


class _Product(torch.autograd.Function):
    """x Wᵀ + b, by oneDNN of one weight; its gradients are products again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return _by_onednn(x, weight, bias) if weight.dim() == 2 else _by_bmm(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        is_stack = weight.dim() == 3
        by = stacked_product if is_stack else product
        g_x = by(g, weight.mT) if ctx.needs_input_grad[0] else None
        rows, cotangents = (x, g) if is_stack else (x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1]))
        g_weight = None
        if ctx.needs_input_grad[1]:
            large = is_stack or weight.numel() >= MIN_WEIGHT_GRADIENT
            g_weight = by(cotangents.mT, rows.mT) if large else cotangents.mT @ rows
        return g_x, g_weight, cotangents.sum(-2) if ctx.biased and ctx.needs_input_grad[2] else None


def _by_bmm(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x_r W_rᵀ + b_r; MKL takes up to ten times as long where the narrow side of the result is its last."""
    n_out, n_in = weight.shape[1:]
    if bias is not None:
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)
    if n_in == 1:
        return x * weight.mT
    return torch.bmm(weight, x.mT).mT if 1 < n_out < NARROW else torch.bmm(x, weight.mT)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if torch.compiler.is_compiling():
        found: Tensor = torch.ops.ebm_cli.product(x, weight, bias)
    else:
        found = linear_pointwise(x, weight, bias, "none", [], "")
    return found


# TorchInductor lowers torch's own operator for constant weights only. An operator of this package is called as it is.
LIBRARY = torch.library.Library("ebm_cli", "DEF")
LIBRARY.define("product(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
LIBRARY.impl("product", _by_onednn, "CPU")
torch.library.register_fake(
    "ebm_cli::product", lambda x, weight, bias: x.new_empty(*x.shape[:-1], len(weight)), lib=LIBRARY
)


def is_onednn_faster() -> bool:
    """True if oneDNN uses instructions here that MKL does not, and torch gives access to its linear layer."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or vendor() in ("GenuineIntel", ""):
        return False
    if not (
        torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled and torch.backends.mkl.is_available()
    ):
        return False
    return has_onednn_linear()


ONEDNN_IS_FASTER = is_onednn_faster()
"""True if large products in float32 are oneDNN's: a property of this machine."""
