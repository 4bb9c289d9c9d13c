"""Logistic loss of a classifier of data and noise, shared by nce and fce.

With ν rows of noise for each row of data, the probability that x is data is p_θ/(p_θ + ν q) = sigmoid(h(x)),

    h(x) = −f(x) − log Z − log q(x) − log ν

and the loss is the logistic one,  L = E_data softplus(−h) + ν E_q softplus(h).  `log Z` is a trained number:
at the optimum p_θ = p_data, and it is the logarithm of the true integral. Source: Gutmann & Hyvärinen (2012), JMLR 13,
eq. 8–10.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.methods.base import Symptom

EXPLODED_ENERGIES = Symptom(
    "loss", 1e6, "the energies have exploded, the classifier is wrong by a million nats a row", "lower optimizer.lr"
)


class Classification(NamedTuple):
    """Loss [] and accuracy [] of the classifier; the accuracy weighs both classes alike."""

    loss: Tensor
    accuracy: Tensor


def balanced_log_z(h_data: Tensor, h_noise: Tensor, nu: float, n_halvings: int = 60) -> Tensor:
    """The c that minimises the loss of h − c, by bisection: there the classifier expects as many data as there are.

    Args:
        h_data, h_noise: log-odds without log Z, of data [B] and of noise [M].
        nu: ν > 0.
        n_halvings: ≥ 1, of the interval between the smallest and the largest log-odds.

    Source: Bennett (1976), the acceptance ratio between two densities.
    """
    every = torch.cat((h_data, h_noise))
    low, high = every.min() - 10, every.max() + 10
    for _ in range(n_halvings):
        c = 0.5 * (low + high)
        # d/dc: it rises with c.
        slope = (c - h_data).sigmoid().mean() - nu * (h_noise - c).sigmoid().mean()
        low, high = torch.where(slope < 0, c, low), torch.where(slope < 0, high, c)
    return 0.5 * (low + high)


def classify(h_data: Tensor, h_noise: Tensor, nu: float) -> Classification:
    """Evaluate L = mean softplus(−h_data) + ν mean softplus(h_noise), and the accuracy of the classifier.

    Args:
        h_data: log-odds of data at rows of data [B].
        h_noise: log-odds of data at rows of noise [M].
        nu: ν > 0, rows of noise for each row of data; the classifier's prior odds, which the accuracy disregards.
    """
    of_noise = F.softplus(h_noise).mean()
    loss = F.softplus(-h_data).mean() + (of_noise if nu == 1 else nu * of_noise)
    # A number of the host: a tensor would have to be copied to the device, which waits for it.
    threshold = -math.log(nu)
    dtype = h_data.dtype
    right_data, right_noise = (
        (h_data.detach() > threshold).sum(dtype=dtype),
        (h_noise.detach() < threshold).sum(dtype=dtype),
    )
    return Classification(loss, torch.add(right_data * (0.5 / len(h_data)), right_noise, alpha=0.5 / len(h_noise)))
