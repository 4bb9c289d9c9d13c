"""The parameters of several runs in one buffer, a row each: a product with all of them is one kernel."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.optim.flat import Flat
from ebm_cli.system.torch_internals import foreach_copy_


class Stack:
    """R flat buffers as the rows of one.

    Each run keeps its parameters, optimizer and average, which see its own row; a run that leaves takes its row along.

    Args:
        flats: of the runs; all hold parameters of the same shapes. Their buffers are moved.

    Attributes:
        leaves: the parameters of all runs [R, *shape], in their order, for autograd.
    """

    @torch.no_grad()
    def __init__(self, flats: Sequence[Flat]) -> None:
        first = flats[0]
        values, gradients = (torch.stack([getattr(flat, name) for flat in flats]) for name in ("values", "gradients"))
        for flat, value, gradient in zip(flats, values, gradients, strict=True):
            flat.move(value, gradient)
        self._flats = list(flats)
        self.leaves = [
            view.requires_grad_(p.requires_grad)
            for p, view in zip(first.parameters, first.stacked(values), strict=True)
        ]
        self._rows, self._gradients = gradients, first.stacked(gradients)

    def backward(self, losses: Tensor) -> None:
        """Write the gradient of each run's own loss into its buffer; losses [R], each of its own parameters alone."""
        gradients = torch.autograd.grad(losses.sum(), self.leaves, allow_unused=True)
        has_grad = [gradient is not None for gradient in gradients]
        for flat in self._flats:
            flat.select(has_grad)
        pairs = [pair for pair in zip(self._gradients, gradients, strict=True) if pair[1] is not None]
        with torch.no_grad():
            foreach_copy_([target for target, _ in pairs], [gradient for _, gradient in pairs])

    def norms(self) -> Sequence[Tensor]:
        """The norm of each run's gradient."""
        norms: Tensor = torch.linalg.vector_norm(self._rows, dim=1)
        return norms.unbind()
