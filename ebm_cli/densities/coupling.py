"""A compact normalising flow of affine couplings, the trainable noise of flow contrastive estimation.

A coupling keeps half of the coordinates and changes the other half by a scale and a shift computed from the first, so
that its inverse and its Jacobian are as cheap as the map itself. A sample and its log-density therefore come from one
pass, which a training step of flow contrastive estimation needs. Source: Dinh, Sohl-Dickstein & Bengio (2017),
"Density estimation using Real NVP", eq. 7–8.
"""

import math

import torch
from torch import Tensor, nn

from ebm_cli.densities.base import Density


class Coupling(nn.Module):
    """One affine coupling: b ← b·exp(s(a)) + t(a), where (a, b) are the two halves of a point.

    Args:
        size: D ≥ 2, coordinates of a point.
        width: hidden units of the network of two hidden layers that computes s and t, ≥ 1.
        flip: swap the halves.
    """

    def __init__(self, size: int, width: int, flip: bool) -> None:
        super().__init__()
        self.flip = flip
        self.split = size // 2 if flip else size - size // 2
        self.moved = size - self.split
        self.net = nn.Sequential(
            nn.Linear(self.split, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2 * self.moved),
        )
        # The flow starts as the identity, and thus as its base, which is close to the standardised data.
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Compute the moved point and the terms of log|det| of this direction: x [B, D] → [B, D], [B, moved]."""
        kept, moved = (x[:, self.moved :], x[:, : self.moved]) if self.flip else x.split((self.split, self.moved), 1)
        raw, shift = self.net(kept).chunk(2, 1)
        # Scales are bounded, because an unbounded exponential overflows at the first bad training step.
        log_scale = 2 * torch.tanh((-0.5 if inverse else 0.5) * raw)
        scale = log_scale.exp()
        moved = (moved - shift) * scale if inverse else torch.addcmul(shift, moved, scale)
        return torch.cat((moved, kept) if self.flip else (kept, moved), 1), log_scale


class CouplingFlow(Density):
    """q(x): x = T(z), z ~ N(0, I);  log q(x) = log N(z) − log|det ∂T/∂z|.

    Args:
        shape: shape of one point, of two coordinates or more; points are flattened.
        n_couplings: ≥ 2.
        width: hidden units of each coupling's network of two hidden layers, ≥ 1.

    Shapes: x [B, *shape].  Cost: n_couplings small networks a pass, the same in both directions.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, shape: tuple[int, ...], n_couplings: int = 8, width: int = 32) -> None:
        super().__init__()
        size = math.prod(shape)
        if size < 2:
            raise ValueError(f"shape must have at least two coordinates for a coupling flow, got {tuple(shape)}")
        if n_couplings < 2:
            raise ValueError(f"n_couplings must be >= 2, got {n_couplings}")
        if width < 1:
            raise ValueError(f"width must be >= 1, got {width}")
        self.shape = shape
        self.size = size
        self.couplings = nn.ModuleList(Coupling(size, width, flip=bool(i % 2)) for i in range(n_couplings))

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.sample_with_log_prob(n, rng)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        z, log_scales = x.flatten(1), []
        for coupling in reversed(self.couplings):
            z, log_scale = coupling(z, inverse=True)
            log_scales.append(log_scale)
        return torch.cat(log_scales, 1).sum(1) + _log_normal(z)

    def sample_with_log_prob(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n points with their log-density, reparameterised: gradients reach the parameters through both."""
        like = next(self.parameters())
        z = torch.randn(n, self.size, generator=rng, dtype=like.dtype, device=like.device)
        log_q, log_scales = _log_normal(z), []
        for coupling in self.couplings:
            z, log_scale = coupling(z)
            log_scales.append(log_scale)
        return z.view(n, *self.shape), log_q - torch.cat(log_scales, 1).sum(1)


def _log_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I): z [B, D] → [B]."""
    return -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
