"""Inputs of the network that bends a reference density."""

import math

import torch
from torch import Tensor, nn

from ebm_cli.densities import Reference
from ebm_cli.derivatives import Jet, Pullback, sweep
from ebm_cli.energies.bounded_inputs import BoundedInputs
from ebm_cli.energies.local_features import local_features, sweep_local_features

BLOCK = 4096
"""Rows whose features are computed together."""


class ReferenceInputs(nn.Module):
    """u(x) [2D + 1]: the coordinates of a point, bounded and white, and its place within the components of q.

    The features of `local_features` are brought to zero mean and unit standard deviation over the data.

    Args:
        reference: q.
        data: rows [N, *shape], standardised units; None until a state is loaded.
        bound: b > 0 of `BoundedInputs`.

    Attributes:
        n_outputs: 2D + 1.

    Shapes: x [B, D] → [B, 2D + 1].  Raises: ValueError if bound is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, reference: Reference, data: Tensor | None, bound: float) -> None:
        super().__init__()
        size = math.prod(reference.shape)
        self.n_outputs = 2 * size + 1
        self.own = BoundedInputs(size, data, bound)
        mean, std = torch.zeros(size + 1), torch.ones(size + 1)
        if data is not None:
            with torch.no_grad():
                found = torch.cat([local_features(reference, x.flatten(1)).cpu() for x in data.split(BLOCK)]).double()
            mean, std = found.mean(0), found.std(0)
            # A feature that does not vary, for instance of a constant column, says nothing.
            std = torch.where(std > 1e-3, std, 1.0)
        dtype = torch.get_default_dtype()
        self.register_buffer("mean", mean.to(dtype))
        self.register_buffer("std", std.to(dtype))

    def forward(self, reference: Reference, x: Tensor) -> Tensor:
        own: Tensor = self.own(x)
        return torch.cat((own, (local_features(reference, x) - self.mean) / self.std), 1)

    def sweep(self, reference: Reference, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule: those of both parts, side by side."""
        own, through_own = sweep(self.own, jet._replace(needs_first=True))
        local, through_local = sweep_local_features(reference, jet)
        first = None
        if own.first is not None and local.first is not None:
            first = torch.cat((own.first, local.first / self.std), -1)
        second = None
        if own.second is not None and local.second is not None:
            second = torch.cat((own.second, local.second / self.std), -1)
        value = torch.cat((own.value, (local.value - self.mean) / self.std), 1)
        n = own.value.shape[1]

        def pullback(g: Tensor) -> Tensor:
            return through_own(g[:, :n]) + through_local(g[:, n:] / self.std)

        return Jet(value, first, second), pullback
