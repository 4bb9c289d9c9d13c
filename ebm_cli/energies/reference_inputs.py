"""Inputs of the network that bends a reference density."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ebm_cli.densities import Reference
from ebm_cli.densities.place import Place
from ebm_cli.derivatives import Jet, sweep
from ebm_cli.energies.bounded_inputs import BoundedInputs
from ebm_cli.energies.component_scales import ComponentScales
from ebm_cli.energies.local_features import LocalFeatures, local_features

Seen = tuple[Jet, Jet, Callable[[Tensor, Tensor], Tensor]]
"""u(x), log q(x), and the map from the cotangents of both to that of x."""

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
                found = torch.cat([_features(reference, x).cpu() for x in data.split(BLOCK)]).double()
            mean, std = found.mean(0), found.std(0)
            # A feature that does not vary, for instance of a constant column, says nothing.
            std = torch.where(std > 1e-3, std, 1.0)
        dtype = torch.get_default_dtype()
        self.register_buffer("mean", mean.to(dtype))
        self.register_buffer("std", std.to(dtype))

    def forward(self, x: Tensor, at: Place) -> Tensor:
        """Compute u [B, 2D + 1] of flat points [B, D], whose place within the components is `at`."""
        own: Tensor = self.own(x)
        return torch.cat((own, (local_features(at) - self.mean) / self.std), 1)

    def sweep(self, reference: Reference, jet: Jet, scales: ComponentScales | None = None) -> Seen:
        """Derivative rule of u and of log q, which share the place of the points.

        Args:
            reference: q.
            jet: of flat points.
            scales: of the components; log q becomes log q + log a with them.
        """
        own, through_own = sweep(self.own, jet._replace(needs_first=True))
        rule = reference.rule(jet.value)
        with torch.no_grad():
            local = LocalFeatures.of(rule.at)
            u = Jet(torch.cat((own.value, (local.value - self.mean) / self.std), 1))
            log_q = Jet(rule.at.log_prob if scales is None else rule.at.log_prob + scales(rule.at.share))
            if jet.first is not None:
                moved = rule.move(jet.first, jet.second)
                first, second = local.move(moved)
                assert own.first is not None
                assert own.second is not None
                u = u._replace(
                    first=torch.cat((own.first, first / self.std), -1),
                    second=torch.cat((own.second, second / self.std), -1),
                )
                log_q = log_q._replace(first=moved.log_prob, second=moved.bent_log_prob)
                if scales is not None:
                    a = scales.move(rule.at.share, moved)
                    log_q = Jet(log_q.value, moved.log_prob + a.first, moved.bent_log_prob + a.second)
        n = own.value.shape[1]

        def pullback(on_u: Tensor, on_log_q: Tensor) -> Tensor:
            on_term, on_s, on_z = local.pull(on_u[:, n:] / self.std)
            if scales is not None:
                on_term = on_term + scales.pull(rule.at.share, on_log_q)
            through_place = rule.pull(on_log_q, on_term, on_s, on_z)
            return through_own(on_u[:, :n]) + through_place

        return u, log_q, pullback


def _features(reference: Reference, x: Tensor) -> Tensor:
    return local_features(reference.locate(x.flatten(1)))
