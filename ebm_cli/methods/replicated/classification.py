"""Logistic loss of the classifiers of several runs: `methods.logistic_loss` with one more dimension."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ebm_cli.methods.logistic_loss import Classification


def classify_runs(h_data: Tensor, h_noise: Tensor, nu: float) -> Classification:
    """Loss [R] and accuracy [R] of each run's classifier.

    Args:
        h_data: log-odds of data at rows of data [R, B].
        h_noise: log-odds of data at rows of noise [R, M].
        nu: ν > 0.
    """
    of_noise = F.softplus(h_noise).mean(1)
    loss = F.softplus(-h_data).mean(1) + (of_noise if nu == 1 else nu * of_noise)
    threshold, dtype = -math.log(nu), h_data.dtype
    right_data = (h_data.detach() > threshold).sum(1, dtype=dtype)
    right_noise = (h_noise.detach() < threshold).sum(1, dtype=dtype)
    accuracy = torch.add(right_data * (0.5 / h_data.shape[1]), right_noise, alpha=0.5 / h_noise.shape[1])
    return Classification(loss, accuracy)
