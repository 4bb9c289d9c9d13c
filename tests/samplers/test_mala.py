"""The Metropolis-adjusted Langevin algorithm: its acceptance ratio. Exactness is in test_invariance.py."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from ebm_cli.derivatives import value_and_grad
from ebm_cli.samplers import mala as mala_module
from ebm_cli.samplers.mala import MALA
from tests.samplers.targets import TARGETS, Target, recorded_ratio


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_mala_ratio_is_that_of_the_proposal_densities(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    eps, temperature = 0.3, 1.7
    x, y, log_ratio = recorded_ratio(MALA(eps, temperature), mala_module, target, monkeypatch)

    def log_flow(a: Tensor, b: Tensor) -> Tensor:
        """log of the target at a times the proposal density a → b, up to Z."""
        energy, grad = value_and_grad(target.energy, a)
        proposal = Normal(a - eps * grad, math.sqrt(2 * eps * temperature))
        return -energy / temperature + proposal.log_prob(b).sum(1)

    torch.testing.assert_close(log_ratio, log_flow(y, x) - log_flow(x, y), rtol=1e-10, atol=1e-10)
