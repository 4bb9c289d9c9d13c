"""The norm of a gradient, and its limit."""

import torch
from torch import Tensor


@torch.no_grad()
def clip_(gradient: Tensor, largest: float) -> Tensor:
    """Scale a gradient down to a norm, in place:

        g ← g · min(1, largest / (‖g‖ + 10⁻⁶))

    The same numbers as `torch.nn.utils.clip_grad_norm_`. On the CPU, where to look is to wait for nothing, a gradient
    that is short enough is not multiplied by 1.

    Args:
        gradient: of all parameters together [P].
        largest: > 0; infinity only measures.

    Returns: ‖g‖ as it was, a scalar on the gradient's device.
    """
    norm: Tensor = torch.linalg.vector_norm(gradient)
    if norm.device.type != "cpu" or not float(norm) + 1e-6 < largest:
        gradient.mul_((largest / (norm + 1e-6)).clamp(max=1.0))
    return norm
