"""Separation of chains: regions of their own, against correlation in one region."""

import math

import pytest
import torch

from ebm_cli.evaluation.chain_summary import worst_diagnostics
from ebm_cli.evaluation.chain_verdicts import SEPARATED
from ebm_cli.evaluation.mcmc_diagnostics import rhat
from ebm_cli.evaluation.separation import separation
from tests.support import autoregressive, normal


@pytest.mark.parametrize("tau", [10.0, 100.0, 1000.0])
def test_chains_that_wander_through_one_mode_are_not_apart(tau: float) -> None:
    """The control: their R-hat is far above 1.1 all the same."""
    draws = autoregressive(100, 200, tau)[..., 0]
    assert float(rhat(draws[..., None])) > 1.1
    assert (separation(draws) or 0.0) < 0.5


@pytest.mark.parametrize("n_chains", [4, 200])
def test_chains_of_two_modes_are_apart(n_chains: int) -> None:
    """Groups of 3 : 1 at ±4: 8 of their own standard deviations, a little less for a drift by chance."""
    draws = autoregressive(100, n_chains, 1.0)[..., 0] + 8.0 * (torch.arange(n_chains) % 4 == 0)
    assert 6 < (separation(draws) or 0.0) < 8.5


def test_separation_is_its_closed_form() -> None:
    """Two settled chains with the means 0 and 3, W = 4/3 and H = 0."""
    draws = torch.tensor([-1.0, 1.0, -1.0, 1.0] * 2)[:, None] + torch.tensor([0.0, 3.0])
    assert separation(draws) == pytest.approx(3 / math.sqrt(4 / 3))


def test_one_chain_has_no_separation() -> None:
    assert separation(normal(100, 1)) is None
    assert "sampler/separation" not in worst_diagnostics(normal(100, 1, 2)).values


def test_separation_is_that_of_the_worst_coordinate() -> None:
    draws = normal(50, 8, 3)
    draws[:, ::2, 1] += 10.0
    found = worst_diagnostics(draws).values["sampler/separation"]
    assert found == separation(draws[..., 1])
    assert isinstance(found, float)
    assert found > SEPARATED


def test_chains_that_stand_still_have_no_width() -> None:
    assert separation(torch.tensor([[0.0, 5.0]]).expand(8, 2)) is None
