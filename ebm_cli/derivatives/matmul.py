"""Products with a weight, each by what is fastest for it: of a narrow one with care for its layout, of a large one in
float32 on a CPU by the library with the wider instructions.

torch takes them from MKL, which uses AVX-512 on its maker's processors alone; oneDNN, which torch takes convolutions
from, uses it wherever it is. On others (AMD since Zen 4) products are up to 2.3 times as fast by it. Which one it is
follows from the processor and the sizes, never from a timing: the same call gives the same bits.

oneDNN's linear layer is an operator that torch has for its compiler's own use and not for ours: where it is missing, or
is not what it was, products are MKL's (docs/adr/0023).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.system.cpu import vendor
from ebm_cli.system.torch_internals import are_transforms_active, has_onednn_linear, linear_pointwise

LEAST = 2**20
"""Multiplications a thread below which oneDNN's own cost, 10 µs, is more than it saves."""
LEAST_TRAINED = 2**23
"""The same for a product that is differentiated, in Python."""
LEAST_TRANSPOSED = 2**14
"""Weights below which their gradient, whose factors oneDNN must transpose, is not faster."""
NARROW = 16
"""Rows or columns of a weight below which its product is one of memory and not of arithmetic. MKL takes up to six times
as long for it where the short side is not the slow one in memory."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b, differentiable backward as often as is asked for, and forward by `torch.func`.

    Shapes: x [..., n_in], weight [n_out, n_in], bias [n_out] → [..., n_out].
    """
    return times(weight, bias)(x)


def times(weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """x → x Wᵀ + b, for a weight that enters several products: what depends on the weight alone is done once."""
    n_out, n_in = weight.shape
    if n_in == 1 and bias is None:
        row = weight.t()
        return lambda x: x * (row if x.ndim > 1 else row[0])
    if n_out < NARROW:
        weight = weight.contiguous() if n_in >= NARROW else weight
        return lambda x: F.linear(x, weight, bias)
    if 1 < n_in < NARROW:
        return partial(_narrow, weight.t().contiguous(), bias)
    if n_in == 1 or not WIDER:
        return lambda x: F.linear(x, weight, bias)
    return partial(_large, weight, bias)


def _narrow(across: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """By the transposed weight [n_in, n_out]."""
    return torch.addmm(bias, x, across) if bias is not None and x.ndim == 2 else F.linear(x, across.t(), bias)


def _large(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    trained = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias))
    if not _pays(x, weight, LEAST_TRAINED if trained else LEAST):
        return F.linear(x, weight, bias)
    if not trained:
        return _by_onednn(x, weight, bias)
    found: Tensor = _Product.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return found


def laid_out(weight: Tensor) -> Tensor:
    """The same weight, in memory as the products with it and with its transpose want it; a view of its copy, or itself.

    `product` does so by itself: this is for a weight that enters several.
    """
    n_out, n_in = weight.shape
    return weight.t().contiguous().t() if 1 < n_in < NARROW <= n_out else weight


def _pays(x: Tensor, weight: Tensor, least: int) -> bool:
    # The compiler cannot ask for the threads, and what it calls costs less than an autograd function in Python.
    threads = 1 if torch.compiler.is_compiling() else torch.get_num_threads()
    return (
        x.numel() * len(weight) >= least * threads
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and (torch.compiler.is_compiling() or not are_transforms_active())
    )


class _Product(torch.autograd.Function):
    """x Wᵀ + b; its gradients are products again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return _by_onednn(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        back = product(g, weight.t()) if ctx.needs_input_grad[0] else None
        rows, cotangents = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
        moved = None
        if ctx.needs_input_grad[1]:
            transposed = cotangents.t()
            moved = product(transposed, rows.t()) if weight.numel() >= LEAST_TRANSPOSED else transposed @ rows
        return back, moved, cotangents.sum(0) if ctx.biased and ctx.needs_input_grad[2] else None


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if torch.compiler.is_compiling():
        found: Tensor = torch.ops.ebm_cli.product(x, weight, bias)
    else:
        found = linear_pointwise(x, weight, bias, "none", [], "")
    return found


# torch's operator is the compiler's own, and its weight a constant for it. One of our name is called as it is.
LIBRARY = torch.library.Library("ebm_cli", "DEF")
LIBRARY.define("product(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
LIBRARY.impl("product", _by_onednn, "CPU")
torch.library.register_fake(
    "ebm_cli::product", lambda x, weight, bias: x.new_empty(*x.shape[:-1], len(weight)), lib=LIBRARY
)


def _wider() -> bool:
    """Whether oneDNN has instructions that MKL does not use here, and its linear layer computes what it should."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or vendor() in ("GenuineIntel", ""):
        return False
    if not (
        torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled and torch.backends.mkl.is_available()
    ):
        return False
    return has_onednn_linear()


WIDER = _wider()
"""Whether it is oneDNN that is the faster."""
