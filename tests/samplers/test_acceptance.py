"""The Metropolis–Hastings decision rejects proposals that are not finite."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from ebm_cli.samplers import Kernel, State, run
from ebm_cli.samplers.acceptance import accept_reject
from ebm_cli.selftest.invariance import harmonic
from tests.samplers.targets import CORRECTED, P_VALUE, name_of
from tests.support import normal, seeded


@pytest.mark.parametrize("outside", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kernel", CORRECTED, ids=name_of)
def test_kernel_rejects_proposals_that_are_not_finite(kernel: Kernel, outside: float) -> None:
    """On N(0, I) cut off at x_0 < 0, where the energy has no value, the half-normal distribution is invariant."""

    def energy(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 0, harmonic(x), outside)

    x = normal(20_000, 2)
    x[:, 0] = x[:, 0].abs()
    state, _ = run(kernel, energy, x, 20, seeded())
    assert stats.kstest(state.x[:, 0].numpy(), "halfnorm").pvalue > P_VALUE
    assert stats.kstest(state.x[:, 1].numpy(), "norm").pvalue > P_VALUE
    assert not torch.equal(state.x, x)


def test_accept_reject_needs_energy_gradient_and_ratio_finite() -> None:
    here = State(torch.zeros(6, 2), torch.zeros(6), torch.zeros(6, 2), {})
    energy, grad, log_ratio = torch.zeros(6), torch.zeros(6, 2), torch.zeros(6)
    energy[0], energy[1], grad[2, 1], grad[3, 0], log_ratio[4] = math.nan, -math.inf, math.nan, math.inf, math.nan
    state, info = accept_reject(here, State(torch.ones(6, 2), energy, grad, {}), log_ratio, seeded())
    assert info.accept.tolist() == [0, 0, 0, 0, 0, 1]
    assert state.x[:, 0].tolist() == [0, 0, 0, 0, 0, 1]
    assert state.energy is not None
    assert state.grad is not None
    assert state.energy.isfinite().all()
    assert state.grad.isfinite().all()
