"""An affine coupling, the layer of a flow in two and more dimensions.

A coupling keeps half of the coordinates and changes the other half by a scale and a shift computed from the first, so
that its inverse and its Jacobian are as cheap as the map itself. Source: Dinh, Sohl-Dickstein & Bengio (2017),
"Density estimation using Real NVP", eq. 7–8.
"""

import torch
from torch import Tensor, nn


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
