"""The place of points within the components of a mixture, from which log q, its derivatives and features follow.

Symbols are those of `elliptical`.
"""

from typing import NamedTuple

from torch import Tensor


class Profile(NamedTuple):
    """h(s), h′(s) and h″(s) of each component, [B, K]."""

    value: Tensor
    slope: Tensor
    bend: Tensor


class Place(NamedTuple):
    """Points within the components.

    Attributes:
        z: whitened offsets from the centres [B, K, D].
        s: their squared lengths [B, K].
        profile: h at s.
        share: r [B, K].
        log_prob: log q [B], nats.
    """

    z: Tensor
    s: Tensor
    profile: Profile
    share: Tensor
    log_prob: Tensor


class Moved(NamedTuple):
    """Derivatives of a place along V directions: the first for each, the second summed over them.

    Attributes:
        z: W_k v [V, 1 or B, K, D].
        square: Σ_v (W_k v)², coordinate by coordinate [1 or B, K, D].
        bent_z: [B, K, D]; None for 0.
        s: [V, B, K].
        bent_s: [B, K].
        share: r′/r [V, B, K].
        bent_share: r″/r [B, K].
        log_prob: [V, B].
        bent_log_prob: [B].
    """

    z: Tensor
    square: Tensor
    bent_z: Tensor | None
    s: Tensor
    bent_s: Tensor
    share: Tensor
    bent_share: Tensor
    log_prob: Tensor
    bent_log_prob: Tensor
