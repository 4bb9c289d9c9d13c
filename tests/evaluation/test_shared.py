"""Annealing and chains that processes share: the numbers of all chains together."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Gaussian, Synthetic
from ebm_cli.evaluation import suite
from ebm_cli.evaluation.annealing import Annealed, anneal
from ebm_cli.evaluation.importance_weights import effective_size
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.shared import anneal_together, are_shared, draw_together, join_annealed, n_sharing
from ebm_cli.methods import SM
from ebm_cli.samplers.mala import MALA
from ebm_cli.system.ranks import Ranks
from tests.evaluation.toys import exact_log_z, normal_density, skewed_gaussian, small_protocol
from tests.ranks import together
from tests.support import normal, seeded


@pytest.fixture(scope="module")
def part() -> Annealed:
    return anneal(skewed_gaussian(), normal_density(3, 4.0), rng=seeded(), n_chains=10, n_temperatures=5)


def of_weights(part: Annealed, log_weights: Tensor) -> Annealed:
    n = len(log_weights)
    x = part.x[:1].expand(n, -1)
    return replace(part, log_weights=log_weights, x=x, ess=effective_size(log_weights), evaluations=100)


def test_joined_weights_are_those_of_all_chains(part: Annealed) -> None:
    one, other = normal(30, seed=1), 2 + normal(50, seed=2)
    joined = join_annealed([of_weights(part, one), of_weights(part, other)])
    every = torch.cat([one, other])
    assert joined.ess == pytest.approx(effective_size(every))
    assert joined.log_z == pytest.approx(float(every.logsumexp(0)) - math.log(80))
    assert len(joined.x) == 80
    assert joined.evaluations == 200 - part.schedule.evaluations


def test_mean_weight_is_averaged_and_not_its_logarithm(part: Annealed) -> None:
    """Z of 1 and of 3 are 2 together; the mean of their logarithms would be log √3."""
    parts = [of_weights(part, torch.full((20,), math.log(z), dtype=torch.float64)) for z in (1, 3)]
    assert join_annealed(parts).log_z == pytest.approx(math.log(2))


def test_log_z_of_shared_chains_is_exact_within_its_error() -> None:
    energy, base = skewed_gaussian(), normal_density(3, 4.0)

    def work(ranks: Ranks) -> Annealed:
        own = seeded(ranks.index + 1)
        return anneal_together(energy, base, ranks, n_chains=101, n_temperatures=40, fade=0.01, rng=seeded(), own=own)

    found = together(2, work)
    assert found[0].log_z == found[1].log_z
    assert found[0].log_z_se < 0.3
    assert abs(found[0].log_z - exact_log_z(energy)) < 4 * found[0].log_z_se
    assert found[0].x.shape == (101, 3)
    assert found[0].warning is None


def test_shared_chains_keep_the_moments_of_exact_starts() -> None:
    starts = normal(400, 2)

    def work(ranks: Ranks) -> Tensor:
        own = seeded(ranks.index + 1)
        return draw_together(lambda x: 0.5 * x.square().sum(1), MALA(0.5), starts, 800, 10, ranks, own).draws

    one, other = together(2, work)
    assert torch.equal(one, other)
    assert one.shape == (2, 400, 2)
    last = one[-1]
    assert bool((last.mean(0).abs() < 5 / math.sqrt(400)).all())
    assert bool(((last.var(0) - 1).abs() < 5 * math.sqrt(2 / 400)).all())
    # Each process has its own half of the starts, and its own random numbers.
    assert not torch.equal(last[:200], last[200:])


@pytest.mark.parametrize(
    ("n_chains", "size", "sharing"), [(20, 2, 2), (19, 2, 1), (5, 2, 1), (1000, 1, 1), (1000, 100, 100), (29, 4, 2)]
)
def test_processes_with_too_few_chains_have_none(n_chains: int, size: int, sharing: int) -> None:
    assert n_sharing(n_chains, Ranks(0, size)) == sharing
    assert are_shared(n_chains, Ranks(0, size)) == (sharing > 1)


def test_chains_of_two_of_three_processes_are_those_of_two() -> None:
    """The third has no part in them, and hears the same."""
    energy, base = skewed_gaussian(), normal_density(3, 4.0)

    def work(ranks: Ranks) -> tuple[Annealed, Tensor]:
        own = seeded(ranks.index + 1)
        log_z = anneal_together(energy, base, ranks, n_chains=25, n_temperatures=5, fade=0.01, rng=seeded(), own=own)
        return log_z, draw_together(
            lambda x: 0.5 * x.square().sum(1), MALA(0.5), normal(25, 3), 50, 2, ranks, own
        ).draws

    (two, drawn), *others = together(2, work)
    for found, draws in (*others, *together(3, work)):
        assert found.log_z == two.log_z
        assert torch.equal(found.log_weights, two.log_weights)
        assert torch.equal(draws, drawn)


def test_evaluation_of_two_processes_has_the_results_of_all() -> None:
    data = Synthetic(Gaussian(3))
    energy = skewed_gaussian().float()

    def work(ranks: Ranks) -> Results | None:
        protocol = small_protocol("density", "chains", n_chains=40)
        if ranks.is_first:
            return suite.evaluate(energy, SM(), data, protocol, ranks=ranks).results
        suite.serve(energy, SM(), data, protocol, ranks)
        return None

    found, nothing = together(2, work)
    assert nothing is None
    assert found is not None
    assert found.values["sampler/n_chains"] == 40
    assert any("Chains were shared by 2 processes" in note for note in found.notes)
