"""Normalising flows of the zuko library as a `Density`.

Neural spline flows, masked autoregressive flows and RealNVP. The base noise is drawn here from the run's own generator
and transformed by the library, because torch.distributions draws from the global generator.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from ebm_cli.densities.base import Density

FLOWS: dict[str, tuple[str, dict[str, int]]] = {
    "realnvp": ("RealNVP", {}),
    "nsf": ("NSF", {"passes": 2}),
    "maf": ("MAF", {}),
}
"""Key → zuko's class and its options; passes=2 turns the autoregressive spline transform into a coupling."""


class ZukoFlow(Density):
    """A flow of zuko: `RealNVP`, `NSF` (couplings: both directions take one pass) or `MAF` (sampling takes D passes).

    Args:
        shape: shape of one point, of two coordinates or more; points are flattened.
        flow: the flow.
        n_transforms: number of consecutive transformations, ≥ 1.
        width: hidden units of each of the two hidden layers, ≥ 1.

    Shapes: x [B, *shape].
    Sources: Dinh et al. (2017); Durkan et al. (2019), "Neural spline flows"; Papamakarios et al. (2017).

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        flow: Literal["realnvp", "nsf", "maf"] = "nsf",
        n_transforms: int = 4,
        width: int = 64,
    ) -> None:
        super().__init__()
        size = math.prod(shape)
        if size < 2:
            raise ValueError(f"shape must have at least two coordinates for a flow, got {tuple(shape)}")
        if n_transforms < 1:
            raise ValueError(f"n_transforms must be >= 1, got {n_transforms}")
        if width < 1:
            raise ValueError(f"width must be >= 1, got {width}")
        import zuko

        name, options = FLOWS[flow]
        self.shape = shape
        self.size = size
        self.flow = getattr(zuko.flows, name)(size, transforms=n_transforms, hidden_features=(width, width), **options)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.sample_with_log_prob(n, rng)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        log_q: Tensor = self.flow().log_prob(x.flatten(1))
        return log_q

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n points with their log-density, reparameterised: gradients reach the parameters through both."""
        like = next(self.flow.parameters())
        z = torch.randn(n, self.size, generator=rng, dtype=like.dtype, device=like.device)
        log_base = -0.5 * z.square().sum(1) - 0.5 * self.size * math.log(2 * math.pi)
        x, log_det = self.flow().transform.inv.call_and_ladj(z)
        return x.view(n, *self.shape), log_base - log_det
