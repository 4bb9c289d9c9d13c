"""Private names of torch: every one that this package uses, looked up once, each with a public fallback.

A private name may vanish, or change its meaning, with any release. So no other module uses one (an architecture test),
and a torch without a name still trains: the fallback gives the same numbers, to rounding, at a lower speed.

    private name                        used for                                      public fallback
    torch._fused_adam_, _fused_adamw_   one update for a buffer of parameters         the optimizer's own step
    torch._foreach_copy_, _foreach_mul_ one call for a list of tensors                a loop over the list
    mkldnn._linear_pointwise            float32 products by oneDNN                    F.linear
    _are_functorch_transforms_active    products inside torch.func                    F.linear, always
    Module._forward_hooks, _pre_hooks   a layer that a hook changes has no rule       no layer has a rule: autograd
    torch._dynamo.exc                   failures of the compiler                      RuntimeError
    Optimizer.step below its decorators a step without hooks and profiling            Optimizer.step
    __dynamo_disable of its methods     optimizers without the import of TorchDynamo  the import (0.9 s)

The last two rely on how torch is written inside and not on a name alone: they are used with the versions in `TESTED`,
and every other version takes the fallback. `MISSING` lists the names that this torch does not have;
`tests/system/test_torch_internals.py` fails by these names when torch is upgraded.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

TESTED = ("2.13",)
"""Versions of torch whose inside is known to be as `unwrapped_step` and `skip_dynamo_import` need it."""
MISSING: list[str] = []
"""Private names that this torch does not have; their fallbacks are used."""


def _find(name: str) -> Any:
    """The object of this dotted name in torch, or None, with the name in `MISSING`."""
    found: Any = torch
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except (AttributeError, RuntimeError):
        MISSING.append(name)
        return None
    return found


def is_tested_version() -> bool:
    """True if this package is tested with this version of torch."""
    return ".".join(torch.__version__.split(".")[:2]) in TESTED


Kernel = Callable[..., None]


# --- kernels for many tensors -----------------------------------------------------------------------------------------


def _copy_each(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


def _multiply_each(tensors: Sequence[Tensor], factor: Tensor) -> None:
    for tensor in tensors:
        tensor.mul_(factor)


_adam, _adamw = _find("_fused_adam_"), _find("_fused_adamw_")
FUSED_ADAM: tuple[Kernel, Kernel] | None = None if _adam is None or _adamw is None else (_adam, _adamw)
"""The updates of Adam and of AdamW, of lists of tensors, in place; None where torch has no such kernels."""
foreach_copy_: Callable[[Sequence[Tensor], Sequence[Tensor]], None] = _find("_foreach_copy_") or _copy_each
"""Copy each source into the target of its place."""
foreach_mul_: Callable[[Sequence[Tensor], Tensor], None] = _find("_foreach_mul_") or _multiply_each
"""Multiply each tensor by one factor, a scalar tensor, in place."""


# --- products ---------------------------------------------------------------------------------------------------------


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, *_: object) -> Tensor:
    return F.linear(x, weight, bias)


linear_pointwise: Callable[..., Tensor] = _find("ops.mkldnn._linear_pointwise.default") or _linear
"""x Wᵀ + b by oneDNN, called with (x, weight, bias, "none", [], ""): the operator of TorchInductor."""
are_transforms_active: Callable[[], bool] = _find("_C._are_functorch_transforms_active") or (lambda: True)
"""True inside a transform of `torch.func`, and where torch cannot say."""


def has_onednn_linear() -> bool:
    """True if oneDNN's linear layer exists and computes x Wᵀ + b: tried on whole numbers, where that is exact."""
    if linear_pointwise is _linear or "_C._are_functorch_transforms_active" in MISSING:
        return False
    x, weight, bias = torch.arange(6.0).view(3, 2), torch.arange(8.0).view(4, 2), torch.arange(4.0)
    try:
        return torch.equal(linear_pointwise(x, weight, bias, "none", [], ""), F.linear(x, weight, bias))
    except RuntimeError:
        return False


# --- modules and the compiler -----------------------------------------------------------------------------------------

_UNKNOWN_HOOKS = [name for name in ("_forward_hooks", "_forward_pre_hooks") if not hasattr(nn.Module(), name)]
MISSING += [f"nn.Module.{name}" for name in _UNKNOWN_HOOKS]


def has_hooks(module: nn.Module) -> bool:
    """True if a hook could change what this module computes, and where torch cannot say."""
    return bool(_UNKNOWN_HOOKS or module._forward_hooks or module._forward_pre_hooks)


def compiler_failures() -> tuple[type[Exception], type[Exception]]:
    """Exceptions of `torch.compile`: too many variants of a function, and any failure; RuntimeError where unknown.

    Cost: the first call imports TorchDynamo, 0.9 s.
    """
    try:
        from torch._dynamo import exc
    except ImportError:
        return RuntimeError, RuntimeError
    return (
        getattr(exc, "FailOnRecompileLimitHit", RuntimeError),
        getattr(exc, "TorchDynamoException", RuntimeError),
    )


# --- optimizers -------------------------------------------------------------------------------------------------------


def unwrapped_step(optimizer: Optimizer) -> Callable[[Optimizer], object] | None:
    """The update of one of torch's optimizers, below the decorators of `step`; None where only `step` itself will do.

    The decorators call hooks, record a profile and import TorchDynamo, which on a small network costs more than the
    update. What is returned must be called without grad mode.
    """
    cls = type(optimizer)
    if not is_tested_version() or not cls.__module__.startswith("torch.optim."):
        return None
    update: Callable[[Optimizer], object] = inspect.unwrap(cls.step)
    return update


def skip_dynamo_import() -> None:
    """Make optimizers without importing TorchDynamo (0.9 s), in a process that compiles no optimizer.

    Four methods of every optimizer are excluded from compilation by a decorator that imports TorchDynamo at the first
    call, asks it for the excluded function and keeps the answer at the function. This puts the answer there, which is
    the function itself.
    """
    if not is_tested_version():
        return
    for method in (
        Optimizer.add_param_group,
        Optimizer.load_state_dict,
        Optimizer.state_dict,
        Optimizer.zero_grad,
    ):
        plain = inspect.unwrap(method)
        plain.__dict__.setdefault("__dynamo_disable", plain)
