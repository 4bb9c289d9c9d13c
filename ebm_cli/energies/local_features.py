"""The place of a point within the components of a mixture: features in which every component has the same scale.

With r_k the share of component k at a point, z_k its whitened offset from the centre and s_k = ‖z_k‖² (its `Place`),
the D + 1 features are

    Σ_k r_k b tanh(z_k / b),      Σ_k r_k a(s_k),    a(s) = c tanh(log(1 + s/D) / c).

A mixture that is wrong in detail is wrong in a similar way within each of its components. As a function of x such a
correction is rough, and a network finds it slowly; as a function of these features it is smooth.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities.place import Moved, Place

REACH = 3.0
"""b, and c: standard deviations of a component, and logarithms of its squared distance, where features level off."""


def local_features(at: Place) -> Tensor:
    """The features [B, D + 1] of points."""
    return LocalFeatures.of(at).value


class LocalFeatures(NamedTuple):
    """The features of points, and how derivatives pass through them.

    Attributes:
        at: the place of the points.
        t: tanh(z/b) [B, K, D].
        a: a(s) [B, K].
        value: the features [B, D + 1].
    """

    at: Place
    t: Tensor
    a: Tensor
    value: Tensor

    @classmethod
    def of(cls, at: Place) -> "LocalFeatures":
        """Compute the features."""
        t = (at.z / REACH).tanh()
        a = REACH * ((at.s / at.z.shape[-1]).log1p() / REACH).tanh()
        return cls(at, t, a, torch.cat((_over_components(REACH * at.share, t), (at.share * a).sum(1, keepdim=True)), 1))

    def move(self, moved: Moved) -> tuple[Tensor, Tensor]:
        """Their derivatives along directions: the first [V, B, D + 1], the sum of the second [B, D + 1]."""
        share, t = self.at.share, self.t
        slope_t, (slope_a, bend_a) = 1 - t.square(), self._distance_derivatives()
        d_share = share * moved.share
        bent_share = share * moved.bent_share
        da = slope_a * moved.s
        bent_a = bend_a * moved.s.square().sum(0) + slope_a * moved.bent_s
        # z/b = atanh t moves by dz/b, which the factors b of the features cancel once.
        weighed = share.unsqueeze(-1) * slope_t
        bent_t = (-2 / REACH) * t * moved.square
        if moved.bent_z is not None:
            bent_t = bent_t + moved.bent_z
        through_share = _over_components(REACH * d_share, t)
        bent = REACH * bent_share.unsqueeze(-1) * t + weighed * bent_t
        if moved.z.shape[1] == 1:
            dz = moved.z[:, 0]
            first = through_share + torch.einsum("bkd,vkd->vbd", weighed, dz)
            bent = bent + 2 * slope_t * torch.einsum("vbk,vkd->bkd", d_share, dz)
        else:
            first = through_share + (weighed * moved.z).sum(-2)
            bent = bent + 2 * slope_t * (d_share.unsqueeze(-1) * moved.z).sum(0)
        spread = (d_share * self.a + share * da).sum(-1, keepdim=True)
        bent_spread = (bent_share * self.a + 2 * (d_share * da).sum(0) + share * bent_a).sum(-1, keepdim=True)
        return torch.cat((first, spread), -1), torch.cat((bent.sum(-2), bent_spread), -1)

    def pull(self, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cotangents of the terms whose shares are taken [B, K], of s [B, K] and of z [B, K, D], from the features'."""
        share, t = self.at.share, self.t
        on_t, on_a = g[:, :-1].unsqueeze(1), g[:, -1:]
        on_share = REACH * (t @ on_t.mT).squeeze(-1) + self.a * on_a
        on_term = share * (on_share - (share * on_share).sum(1, keepdim=True))
        on_s = share * on_a * self._distance_derivatives()[0]
        return on_term, on_s, share.unsqueeze(-1) * (1 - t.square()) * on_t

    def _distance_derivatives(self) -> tuple[Tensor, Tensor]:
        """a′(s) and a″(s) [B, K]."""
        rate = 1 / (self.at.z.shape[-1] + self.at.s)
        slope = (1 - (self.a / REACH).square()) * rate
        return slope, -slope * rate - (2 / REACH**2) * self.a * slope * rate


def _over_components(weights: Tensor, values: Tensor) -> Tensor:
    """Σ_k w_k v_k: weights [..., B, K], values [B, K, D] → [..., B, D]."""
    return (weights.unsqueeze(-1) * values).sum(-2)
