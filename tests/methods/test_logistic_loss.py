"""The logistic loss that nce and fce share."""

import math

import pytest
import torch
from torch import nn

from ebm_cli.methods.logistic_loss import classify


@pytest.mark.parametrize(("nu", "right_data", "right_noise"), [(1.0, 2 / 3, 1 / 2), (math.e, 1.0, 1 / 4)])
def test_accuracy_disregards_the_prior_odds(nu: float, right_data: float, right_noise: float) -> None:
    """With h = log p/q − log ν, the classifier is right if p/q is above 1 at data and below 1 at noise."""
    h_data = torch.tensor([3.0, -0.5, 0.25], dtype=torch.float64)
    h_noise = torch.tensor([-2.0, 0.5, -0.75, 0.125], dtype=torch.float64)
    out = classify(h_data, h_noise, nu)
    assert float(out.accuracy) == pytest.approx(0.5 * (right_data + right_noise), abs=1e-12)
    softplus = nn.functional.softplus
    assert float(out.loss) == pytest.approx(float(softplus(-h_data).mean() + nu * softplus(h_noise).mean()), abs=1e-12)
