"""The variance of nce with noise that is the data: its minimum is that of the method, and other noise fails."""

import math

import pytest
import torch

from ebm_cli.energies.given import Given
from ebm_cli.lecture import NoiseIsData
from ebm_cli.lecture import noise_is_data as module
from ebm_cli.lecture.noise_is_data import estimates
from ebm_cli.methods.logistic_loss import classify
from tests.lecture.measurements import passed
from tests.support import normal

SMALL = NoiseIsData([1, 4], n_rows=200, n_repetitions=600, within=0.2, seed=0)


def test_variance_is_that_of_the_theorem() -> None:
    assert passed(SMALL.measure([])) == {"variance of the mean": True, "variance of the precision": True}


def test_wider_noise_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the estimate that takes noise of twice the width for the data's own."""
    monkeypatch.setattr(module, "estimates", lambda x, y: estimates(x, 2 * y))
    assert not all(passed(SMALL.measure([])).values())


def test_estimates_are_the_minimum_of_the_method() -> None:
    """The gradient of the logistic loss of nce in the three parameters vanishes there."""
    x, y = normal(3, 300), normal(3, 900, seed=2)
    theta = estimates(x, y).requires_grad_()
    total = torch.zeros(()).double()
    for (a, b, log_z), data, noise in zip(theta, x, y, strict=True):
        energy = Given(lambda at, a=a, b=b: (-a * at + 0.5 * b * at.square()).sum(1), (1,))
        q = torch.distributions.Normal(torch.zeros(()).double(), 1.0)
        h = [-energy(at[:, None]) - log_z - q.log_prob(at) - math.log(3) for at in (data, noise)]
        total = total + classify(h[0], h[1], 3.0).loss
    assert float(torch.autograd.grad(total, theta)[0].abs().max()) < 1e-10
