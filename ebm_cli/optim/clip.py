"""Gradient clipping by the norm."""

import torch
from torch import Tensor

from ebm_cli.optim.flat import Flat
from ebm_cli.system.torch_internals import foreach_mul_


@torch.no_grad()
def clip_(flat: Flat, max_norm: float) -> Tensor:
    """Scale the gradients of these parameters down to a norm, in place:

        g ← g · min(1, max_norm / (‖g‖ + 10⁻⁶))

    The same as `torch.nn.utils.clip_grad_norm_`, up to rounding. On the CPU, where reading a number waits for nothing,
    a gradient within the norm is not multiplied by 1.

    Args:
        flat: the parameters. Only the views of their gradients are scaled: the gaps between them must stay 0, also
            where the norm is not finite.
        max_norm: > 0; infinity only measures.

    Returns: ‖g‖ before clipping, a scalar on the gradients' device.
    """
    norm: Tensor = torch.linalg.vector_norm(flat.gradients)
    if norm.device.type != "cpu" or not float(norm) + 1e-6 < max_norm:
        foreach_mul_(flat.views, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm
