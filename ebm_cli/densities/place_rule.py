"""The derivatives of a place in x, where q is a mixture of coordinates T(x) that were transformed one by one.

log q(x) = log r(T(x)) + Σ_i log T_i′(x_i),     T″ = T′ (log T′)′
"""

from typing import NamedTuple

from torch import Tensor

from ebm_cli.densities.elliptical import EllipticalMixture
from ebm_cli.densities.monotone import Bend
from ebm_cli.densities.place import Moved, Place


class PlaceRule(NamedTuple):
    """A place, and how derivatives pass through it.

    Attributes:
        mixture: r.
        at: the place of the points; its log_prob is that of q.
        bend: T and its derivatives there; None where T is the identity.
    """

    mixture: EllipticalMixture
    at: Place
    bend: Bend | None

    def move(self, first: Tensor, second: Tensor | None) -> Moved:
        """Derivatives along directions of x: [V, 1 or B, D], and the points' second derivatives [B, D] or None."""
        bend = self.bend
        if bend is None:
            return self.mixture.move(self.at, first, second)
        slope = bend.log_slope.exp()
        square = first.square().sum(0)
        bent = slope * bend.first * square
        on_slope = (bend.first * first).sum(-1)
        on_bend = (bend.second * square).sum(-1)
        if second is not None:
            bent = bent + slope * second
            on_bend = on_bend + (bend.first * second).sum(-1)
        found = self.mixture.move(self.at, slope * first, bent)
        return found._replace(log_prob=found.log_prob + on_slope, bent_log_prob=found.bent_log_prob + on_bend)

    def pull(self, on_log_prob: Tensor, on_term: Tensor, on_s: Tensor, on_z: Tensor) -> Tensor:
        """The cotangent of x [B, D], from that of log q, of the terms whose shares are taken, of s and of z.

        Args:
            on_log_prob: [B] or [1].
            on_term: [B, K]; what goes through the shares.
            on_s: [B, K].
            on_z: [B, K, D].
        """
        g = on_log_prob.unsqueeze(1)
        on_term = on_term + g * self.at.share
        on_y = self.mixture.pull(self.at, on_term * self.at.profile.slope + on_s, on_z)
        return on_y if self.bend is None else self.bend.log_slope.exp() * on_y + g * self.bend.first
