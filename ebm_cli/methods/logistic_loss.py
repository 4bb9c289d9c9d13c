"""The value function of noise contrastive estimation, which nce and fce share: telling data from noise.

With ν noise rows to a data row, the probability that x is data is p_θ/(p_θ + ν q) = sigmoid(h(x)),

    h(x) = −f(x) − log Z − log q(x) − log ν

and the loss is the logistic one,  L = E_data softplus(−h) + ν E_q softplus(h).  `log Z` is a trained number: at the
optimum p_θ = p_data, and it is the log of the true integral. Source: Gutmann & Hyvärinen (2012), JMLR 13, eq. 8–10.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.methods.base import Symptom

OFF = 1e6
"""Nats by which a classifier may be wrong on average."""

EXPLODED = Symptom(
    "loss", OFF, "the energies have exploded, the classifier is wrong by a million nats a row", "lower optimizer.lr"
)


class Classified(NamedTuple):
    """The loss and what the classifier does; `accuracy` weighs both classes alike."""

    loss: Tensor
    accuracy: Tensor


def classify(h_data: Tensor, h_noise: Tensor, nu: float) -> Classified:
    """L = mean softplus(−h_data) + ν mean softplus(h_noise), and the accuracy of the classifier.

    Args:
        h_data: log-odds of data at data rows [B].
        h_noise: the same at noise rows [M].
        nu: ν > 0, noise rows to a data row; the classifier's prior odds, which `accuracy` takes out again.
    """
    of_noise = F.softplus(h_noise).mean()
    loss = F.softplus(-h_data).mean() + (of_noise if nu == 1 else nu * of_noise)
    # A number, and not a tensor that would be copied to the device, and waited for.
    threshold = -math.log(nu)
    dtype = h_data.dtype
    right_data, right_noise = (
        (h_data.detach() > threshold).sum(dtype=dtype),
        (h_noise.detach() < threshold).sum(dtype=dtype),
    )
    return Classified(loss, torch.add(right_data * (0.5 / len(h_data)), right_noise, alpha=0.5 / len(h_noise)))
