"""Diagnostics that are not deceived: by chains that never moved, by non-finite draws, by too few different draws."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.evaluation.chain_summary import acceptance, chain_results, never_moved, worst_diagnostics
from ebm_cli.evaluation.mcmc_diagnostics import ess_bulk, ess_tail, rhat
from ebm_cli.samplers import Info, Kernel, Tempering, trace
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from tests.support import harmonic, normal, seeded

ESTIMATES = ("sampler/rhat", "sampler/ess_bulk", "sampler/ess_tail")


def stuck(draws: Tensor, *chains: int) -> Tensor:
    """The same draws, where these chains stay at their first one."""
    held = draws.clone()
    held[:, list(chains)] = draws[:1, list(chains)]
    return held


def test_diagnostics_are_those_of_the_worst_coordinate() -> None:
    draws = normal(100, 4, 3, seed=0)
    draws[:, 0, 1] += 1.0
    found = worst_diagnostics(draws).values
    assert found["sampler/rhat"] == float(rhat(draws).max())
    assert found["sampler/ess_bulk"] == float(ess_bulk(draws)[1])
    assert found["sampler/ess_tail"] == float(ess_tail(draws).min())


def test_chains_that_never_moved_are_counted_and_left_out() -> None:
    draws = stuck(normal(100, 6, 2, seed=0), 1, 4)
    found = worst_diagnostics(draws, draws[0])
    assert found.values["sampler/never_moved"] == 2
    assert found.values["sampler/n_chains"] == 6
    moving = worst_diagnostics(draws[:, [0, 2, 3, 5]])
    assert all(found.values[key] == moving.values[key] for key in ESTIMATES)
    assert not bool(rhat(draws).isfinite().any())


def test_chains_of_which_none_moved_have_no_diagnostics() -> None:
    found = worst_diagnostics(normal(1, 5, 2, seed=0).expand(20, 5, 2))
    assert found.values["sampler/never_moved"] == 5
    assert {key: found.absent[key] for key in ESTIMATES} == dict.fromkeys(ESTIMATES, "no chain ever moved")
    assert not found.values.keys() & set(ESTIMATES)


def test_a_single_draw_is_compared_with_the_start() -> None:
    start = normal(3, 2, seed=0)
    draws = start[None].clone()
    draws[0, 1, 0] += 1e-6
    assert never_moved(draws, start).tolist() == [True, False, True]
    assert worst_diagnostics(draws, start).values["sampler/never_moved"] == 2


@pytest.mark.parametrize(("thin", "n_still"), [(10, 0), (20, 1)])
def test_a_chain_that_moved_in_burn_in_alone_is_stuck(thin: int, n_still: int) -> None:
    """In few transitions a good chain, too, may never move."""
    draws, start = stuck(normal(5, 6, 2, seed=0), 1), normal(6, 2, seed=1)
    found = worst_diagnostics(draws, start, thin).values
    assert found["sampler/never_moved"] == n_still
    moving = worst_diagnostics(draws[:, [0, 2, 3, 4, 5]])
    assert all(found[key] == moving.values[key] for key in ESTIMATES)


def test_a_chain_that_moved_and_came_back_has_moved() -> None:
    draws = normal(1, 3, 2, seed=0).repeat(5, 1, 1)
    draws[2, 1, 1] += 1.0
    assert never_moved(draws).tolist() == [True, False, True]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_draws_that_are_not_finite_are_counted(value: float) -> None:
    draws = normal(20, 4, 3, seed=0)
    draws[5:, 2, 1] = value
    found = worst_diagnostics(draws)
    assert (found.values["sampler/non_finite"], found.values["sampler/n_draws"]) == (15, 80)
    assert {found.absent[key] for key in ESTIMATES} == {"15 of 80 draws are not finite"}


def test_ess_is_at_most_the_number_of_different_draws() -> None:
    """Each place is kept for two draws and followed by its mirror image: by autocorrelation alone ESS were larger."""
    places = normal(25, 4, 2, seed=0)
    places[1::2] = -places[::2][:12]
    draws = places.repeat_interleave(2, dim=0)
    assert len(draws.flatten(0, 1).unique(dim=0)) == 100
    assert float(ess_bulk(draws).min()) > 150
    assert worst_diagnostics(draws).values["sampler/ess_bulk"] == 100


def test_each_row_has_its_own_distribution() -> None:
    draws = normal(60, 8, 2, seed=0)
    draws[:, 1::2] += 100.0
    assert float(worst_diagnostics(draws).values["sampler/rhat"] or 0) > 1.5
    assert float(worst_diagnostics(draws, n_rows=2).values["sampler/rhat"] or 0) < 1.05
    used = torch.tensor(((True, False),) * 8)
    draws[:, ::2, 1] += torch.arange(4) * 10.0
    assert float(worst_diagnostics(draws, n_rows=2).values["sampler/rhat"] or 0) > 1.5
    assert float(worst_diagnostics(draws, n_rows=2, used=used).values["sampler/rhat"] or 0) < 1.05


def test_few_draws_have_a_reason() -> None:
    found = worst_diagnostics(normal(3, 4, 2, seed=0))
    assert {found.absent[key] for key in ESTIMATES} == {"too few draws a chain: 3, and 4 are needed"}


@pytest.mark.parametrize(
    ("kernel", "dimension", "good"),
    [(MALA(), 5, (0.4, 0.8)), (HMC(), 5, (0.6, 0.95)), (Metropolis(), 5, (0.15, 0.5)), (Metropolis(), 1, (0.2, 0.7))],
)
def test_acceptance_comes_with_the_range_of_its_sampler(
    kernel: MALA | HMC | Metropolis, dimension: int, good: tuple[float, float]
) -> None:
    found = acceptance(kernel, Info(torch.tensor((0.2, 0.4))), dimension).values
    assert found["sampler/acceptance"] == pytest.approx(0.3)
    assert (found["sampler/acceptance_low"], found["sampler/acceptance_high"]) == good
    assert kernel.target_accept is not None
    assert good[0] < kernel.target_accept < good[1]


def test_a_sampler_without_a_test_has_no_acceptance() -> None:
    assert acceptance(Langevin(0.03), Info(torch.ones(4)), 2).values == {"sampler/step_size": 0.03}


@pytest.mark.parametrize(
    ("kernel", "has_acceptance", "has_virial"),
    [(MALA(0.5), True, True), (Langevin(0.1), False, True), (Metropolis(1.0), True, False)],
    ids=lambda p: type(p).__name__,
)
def test_results_of_chains_have_acceptance_and_bias(kernel: Kernel, has_acceptance: bool, has_virial: bool) -> None:
    """An energy whose sampler takes no gradient may have none, and then no virial."""
    start = normal(40, 2)
    draws, info = trace(kernel, harmonic, start, 40, 4, seeded())
    found = chain_results(kernel, harmonic, info, draws, start, 4)
    assert {"sampler/step_size", "sampler/never_moved", "sampler/rhat"} <= found.values.keys()
    named = {*found.values, *found.absent}
    assert ("sampler/acceptance" in named, "sampler/virial" in named) == (has_acceptance, has_virial)


def test_results_of_tempered_chains_have_their_ladder() -> None:
    kernel = Tempering(0.5, kernel=MALA(), n_replicas=3, hottest=4.0)
    start = normal(40, 2)
    draws, info = trace(kernel, harmonic, start, 40, 4, seeded())
    found = chain_results(kernel, harmonic, info, draws, start, 4).values
    assert found["sampler/ladder"] == "1 2 4"
    low, mean = found["sampler/swap_rate_low"], found["sampler/swap_rate"]
    assert isinstance(low, float)
    assert isinstance(mean, float)
    assert 0.4 < low < mean < 0.8
    assert info.round_trips is not None
    assert found["sampler/round_trips"] == pytest.approx(40 * float(info.round_trips.mean()))


def test_chains_whose_step_is_far_too_long_never_move() -> None:
    start = normal(30, 2).float()
    draws, info = trace(MALA(50.0), harmonic, start, 40, 4, seeded())
    found = chain_results(MALA(50.0), harmonic, info, draws, start, 4)
    n_still = int((draws == start).flatten(2).all(2).all(0).sum())
    assert n_still > 20
    assert found.values["sampler/never_moved"] == n_still
    assert float(found.values.get("sampler/ess_bulk") or 0) <= 10 * (30 - n_still)
