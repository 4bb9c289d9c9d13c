"""The place of a point within the components of a mixture: features in which every component has the same scale.

With y = T(x) the coordinates in which q is a mixture (T is the identity without transformed marginals), r_k the share
of component k at x, z_k = W_k (y − m_k) and s_k = ‖z_k‖², the D + 1 features are

    Σ_k r_k b tanh(z_k / b),      Σ_k r_k a(s_k),    a(s) = c tanh(log(1 + s/D) / c).

A mixture that is wrong in detail is wrong in a similar way within each of its components. As a function of x such a
correction is rough, and a network finds it slowly; as a function of these features it is smooth.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ebm_cli.densities import Reference
from ebm_cli.densities.elliptical import EllipticalMixture, Profile
from ebm_cli.derivatives import Jet, Pullback

REACH = 3.0
"""b, and c: standard deviations of a component, and logarithms of its squared distance, where features level off."""


class _Local(NamedTuple):
    """A point within the components.

    Attributes:
        z: whitened offsets from the centres [B, K, D].
        s: their squared lengths [B, K].
        profile: of the components at s.
        share: r [B, K].
        t: b tanh(z/b) [B, K, D].
        a: a(s) [B, K].
    """

    z: Tensor
    s: Tensor
    profile: Profile
    share: Tensor
    t: Tensor
    a: Tensor


def local_features(reference: Reference, x: Tensor) -> Tensor:
    """The features of flat points: [B, D] → [B, D + 1]."""
    at = _locate(reference.mixture, _transformed(reference, x))
    return _averaged(at)


def sweep_local_features(reference: Reference, jet: Jet) -> tuple[Jet, Pullback]:
    """Derivative rule of the features: jet of flat points → jet of the features, and its pullback."""
    with torch.no_grad():
        return _sweep(reference, jet)


def _sweep(reference: Reference, jet: Jet) -> tuple[Jet, Pullback]:
    mixture, marginals = reference.mixture, reference.marginals
    slope = None
    y, first, second = jet.value, jet.first, jet.second
    if marginals is not None:
        bend = marginals.bend(jet.value)
        y, slope = bend.value, bend.log_slope.exp()
        if first is not None:
            bent = slope * bend.first * first.square().sum(0)
            second = bent if second is None else slope * second + bent
            first = slope * first
    at = _locate(mixture, y)
    value = _averaged(at)
    slope_t = 1 - (at.t / REACH).square()
    slope_a, bend_a = _distance_derivatives(at)
    out = Jet(value)
    if first is not None:
        out = _directional(mixture, at, first, second, slope_t, slope_a, bend_a, value)

    def pullback(g: Tensor) -> Tensor:
        on_t, on_a = g[:, :-1].unsqueeze(1), g[:, -1:]
        on_share = (at.t * on_t).sum(-1) + at.a * on_a
        on_term = at.share * (on_share - (at.share * on_share).sum(1, keepdim=True))
        along = 2 * (on_term * at.profile.slope + at.share * on_a * slope_a)
        on_z = along.unsqueeze(-1) * at.z + at.share.unsqueeze(-1) * slope_t * on_t
        on_y = on_z.flatten(1) @ mixture.whiten.flatten(0, 1)
        return on_y if slope is None else slope * on_y

    return out, pullback


def _directional(
    mixture: EllipticalMixture,
    at: _Local,
    first: Tensor,
    second: Tensor | None,
    slope_t: Tensor,
    slope_a: Tensor,
    bend_a: Tensor,
    value: Tensor,
) -> Jet:
    """The jet of the features along the directions `first` [V, B or 1, D] of y, whose second derivative is `second`."""
    n, size = mixture.means.shape
    whiten = mixture.whiten.flatten(0, 1)
    dz = (first @ whiten.T).unflatten(-1, (n, size))
    ds = 2 * (dz * at.z).sum(-1)
    bent_s = 2 * dz.square().sum(-1).sum(0)
    if second is not None:
        ddz = (second @ whiten.T).unflatten(-1, (n, size))
        bent_s = bent_s + 2 * (at.z * ddz).sum(-1)
    # Derivatives of the terms of log q, of the shares, and of t and a.
    term = at.profile.slope * ds
    centred = term - (at.share * term).sum(-1, keepdim=True)
    d_share = at.share * centred
    bent = centred.square().sum(0) + at.profile.bend * ds.square().sum(0) + at.profile.slope * bent_s
    bent_share = at.share * (bent - (at.share * bent).sum(-1, keepdim=True))
    dt = slope_t * dz
    bent_t = (-2 / REACH**2) * at.t * slope_t * dz.square().sum(0)
    if second is not None:
        bent_t = bent_t + slope_t * ddz
    da = slope_a * ds
    bent_a = bend_a * ds.square().sum(0) + slope_a * bent_s
    moved = (d_share.unsqueeze(-1) * at.t + at.share.unsqueeze(-1) * dt).sum(-2)
    spread = (d_share * at.a + at.share * da).sum(-1, keepdim=True)
    bent_moved = (
        bent_share.unsqueeze(-1) * at.t + 2 * (d_share.unsqueeze(-1) * dt).sum(0) + at.share.unsqueeze(-1) * bent_t
    ).sum(-2)
    bent_spread = (bent_share * at.a + 2 * (d_share * da).sum(0) + at.share * bent_a).sum(-1, keepdim=True)
    return Jet(value, torch.cat((moved, spread), -1), torch.cat((bent_moved, bent_spread), -1))


def _transformed(reference: Reference, x: Tensor) -> Tensor:
    """T(x), the coordinates in which q is a mixture."""
    return x if reference.marginals is None else reference.marginals.forward(x)[0]


def _locate(mixture: EllipticalMixture, y: Tensor) -> _Local:
    z = mixture.whitened(y)
    s = z.square().sum(-1)
    profile = mixture.profile(s)
    share = (mixture.log_norm + profile.value).softmax(1)
    return _Local(z, s, profile, share, REACH * (z / REACH).tanh(), REACH * (_log_distance(s, y) / REACH).tanh())


def _log_distance(s: Tensor, y: Tensor) -> Tensor:
    return (s / y.shape[1]).log1p()


def _averaged(at: _Local) -> Tensor:
    """The features: means over the components by their shares [B, D + 1]."""
    return torch.cat(((at.share.unsqueeze(-1) * at.t).sum(1), (at.share * at.a).sum(1, keepdim=True)), 1)


def _distance_derivatives(at: _Local) -> tuple[Tensor, Tensor]:
    """a′(s) and a″(s) [B, K]."""
    size = at.z.shape[-1]
    rate = 1 / (size + at.s)
    flat = 1 - (at.a / REACH).square()
    slope = flat * rate
    return slope, -slope * rate - (2 / REACH**2) * at.a * slope * rate
