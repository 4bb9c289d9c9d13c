"""The norm of a gradient, and its limit."""

import torch
from torch import Tensor

from ebm_cli.optim.flat import Flat
from ebm_cli.system.torch_internals import foreach_mul_


@torch.no_grad()
def clip_(flat: Flat, largest: float) -> Tensor:
    """Scale the gradients of these parameters down to one norm together, in place:

        g ← g · min(1, largest / (‖g‖ + 10⁻⁶))

    The same as `torch.nn.utils.clip_grad_norm_`, up to rounding. On the CPU, where to look is to wait for nothing, a
    gradient that is short enough is not multiplied by 1.

    Args:
        flat: whose gradients; they alone are scaled, since what lies between must stay 0 whatever the norm is.
        largest: > 0; infinity only measures.

    Returns: ‖g‖ as it was, a scalar on the gradients' device.
    """
    norm: Tensor = torch.linalg.vector_norm(flat.gradients)
    if norm.device.type != "cpu" or not float(norm) + 1e-6 < largest:
        foreach_mul_(flat.taken, (largest / (norm + 1e-6)).clamp(max=1.0))
    return norm
