"""The pilot of an annealing: levels and step sizes, the choice of the path, and what is refused before it starts."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_cli.densities.gaussian import Gaussian as FittedGaussian
from ebm_cli.densities.uniform import Uniform
from ebm_cli.evaluation import annealing_schedule
from ebm_cli.evaluation.annealing import anneal
from ebm_cli.evaluation.annealing_path import AnnealingPath
from ebm_cli.evaluation.annealing_schedule import plan_schedule, start_path
from ebm_cli.evaluation.importance_weights import effective_size
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.nuts import NUTS
from ebm_cli.samplers.tempering import Tempering
from tests.evaluation.toys import exact_log_z, normal_density, skewed_gaussian
from tests.support import seeded


def test_schedule_uses_given_levels_as_they_are() -> None:
    levels = (0.0, *torch.logspace(-2, 0, 30).double().tolist()[:-1], 1.0)
    schedule = plan_schedule(skewed_gaussian(), normal_density(3, 4.0), rng=seeded(), levels=levels)
    assert schedule.levels == levels
    result = anneal(skewed_gaussian(), normal_density(3, 4.0), rng=seeded(), n_chains=200, schedule=schedule)
    assert abs(result.log_z - exact_log_z(skewed_gaussian())) < 4 * result.log_z_se


@pytest.mark.parametrize("n", [1, 7, 100])
def test_schedule_has_as_many_levels_as_asked_for(n: int) -> None:
    schedule = plan_schedule(skewed_gaussian(), normal_density(3, 4.0), rng=seeded(), n_temperatures=n)
    assert len(schedule.levels) == len(schedule.step_sizes) == n + 1
    assert (schedule.levels[0], schedule.levels[-1]) == (0.0, 1.0)
    assert all(b < c for b, c in zip(schedule.levels, schedule.levels[1:], strict=False))


def test_schedule_goes_straight_to_a_model_near_the_base() -> None:
    """log Z is then nearly exact, however ill-conditioned the base; on the bent path it would not be."""
    rows = torch.randn(200, 10, generator=seeded()) * torch.logspace(-1.5, 0.5, 10)
    base = FittedGaussian(rows)

    def model(x: Tensor) -> Tensor:
        return 0.05 * torch.sin(x[:, 0]) - base.log_prob(x) - 3.0

    straight = anneal(model, base, rng=seeded(1), n_chains=200, n_temperatures=100)
    assert straight.schedule.fade == math.inf
    x = base.sample(200_000, seeded(2))
    truth = 3.0 + float((-0.05 * torch.sin(x[:, 0])).double().exp().mean().log())
    assert abs(straight.log_z - truth) < 0.01
    assert straight.log_z_se < 0.01
    even = tuple(i / 100 for i in range(101))
    schedule = plan_schedule(model, base, rng=seeded(3), levels=even)
    bent = anneal(model, base, rng=seeded(1), n_chains=200, schedule=schedule)
    assert bent.log_z_se > 0.1


def test_a_nan_at_the_start_is_not_integrable() -> None:
    with pytest.raises(NotIntegrable, match="the energy is nan at u = "):
        plan_schedule(lambda x: (x[:, 0] - 1).sqrt(), normal_density(2), rng=seeded())


@pytest.mark.parametrize(
    ("energy", "reason"),
    [
        (lambda x: -x.sum(1), "not integrable"),
        (lambda x: 0 * x.sum(1), "not integrable"),
        (lambda x: 1 / (1 + x.square().sum(1)), "not integrable"),
        (lambda x: x.exp().sum(1), "not integrable"),
        (lambda x: torch.where(x[:, 0] < 100, math.inf, x[:, 0]), "infinite at all"),
        (lambda x: -(x[:, 0] * math.inf).abs(), "-inf"),
    ],
)
def test_an_energy_without_log_z_is_not_integrable(energy: Callable[[Tensor], Tensor], reason: str) -> None:
    with pytest.raises(NotIntegrable, match=reason):
        anneal(energy, normal_density(2), rng=seeded(), n_chains=50, n_temperatures=50)


def test_a_pilot_that_does_not_arrive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annealing_schedule, "MAX_LEVELS", 2)
    with pytest.raises(NotIntegrable, match=r"^2 levels do not lead from the base to the model: they stop at b = 0\."):
        plan_schedule(skewed_gaussian(), normal_density(3, 400.0), rng=seeded())


def test_arguments_out_of_range_are_refused() -> None:
    energy, base = skewed_gaussian(), normal_density(3)
    with pytest.raises(ValueError, match="no acceptance test"):
        plan_schedule(energy, base, rng=seeded(), kernel=Langevin())
    for kernel in (NUTS(), Tempering()):
        with pytest.raises(ValueError, match="another point than the one that it evaluated last"):
            plan_schedule(energy, base, rng=seeded(), kernel=kernel)
    with pytest.raises(ValueError, match=r"kernel\.metric must be none"):
        plan_schedule(energy, base, rng=seeded(), kernel=HMC(metric="full"))
    with pytest.raises(ValueError, match="temperature"):
        plan_schedule(energy, base, rng=seeded(), kernel=MALA(temperature=2.0))
    with pytest.raises(ValueError, match="n_temperatures"):
        plan_schedule(energy, base, rng=seeded(), n_temperatures=0)
    with pytest.raises(ValueError, match="n_chains"):
        plan_schedule(energy, base, rng=seeded(), n_chains=9)
    with pytest.raises(ValueError, match="fade"):
        plan_schedule(energy, base, rng=seeded(), fade=0.0)
    for levels in ((0.0, 0.5, 0.5, 1.0), (0.1, 1.0), (0.0, 0.9)):
        with pytest.raises(ValueError, match="levels must increase from 0 to 1"):
            plan_schedule(energy, base, rng=seeded(), levels=levels)
    with pytest.raises(ValueError, match="Uniform: log_prob has no gradient"):
        plan_schedule(energy, Uniform(torch.randn(10, 3, generator=seeded())), rng=seeded())


def test_a_model_far_from_the_base_keeps_the_bent_path() -> None:
    base = normal_density(2)
    far = plan_schedule(lambda x: (x - 3).square().sum(1) / 0.02, base, rng=seeded(), fade=5.0)
    near = plan_schedule(lambda x: (x - 0.1).square().sum(1) / 2, base, rng=seeded(), fade=5.0)
    assert (far.fade, near.fade) == (5.0, math.inf)


def test_the_next_level_is_the_largest_that_is_near() -> None:
    """Half the weight's effective size is left there, also from a level above 0; a little further, less is left."""
    path, points = start_path(skewed_gaussian(), normal_density(3, 4.0), math.inf, MALA(), 400, seeded())
    path.level = 0.2
    level = annealing_schedule._next_level(path, points)
    assert path.level < level < 1

    def share(b: float) -> float:
        return effective_size(-path.energy_change(points, b)) / 400

    assert share(level) >= annealing_schedule.CESS > share(path.level + 1.01 * (level - path.level))


@pytest.mark.parametrize(("dim", "shown"), [(3, "0.123, 0.123, 0.123]"), (4, "0.123]"), (5, "0.123]…")])
def test_a_nan_is_named_by_its_first_four_coordinates(dim: int, shown: str) -> None:
    path = AnnealingPath(lambda x: x.sum(1) * math.nan, normal_density(dim), math.inf)
    x = torch.full((10, dim), 0.12345)
    with pytest.raises(NotIntegrable) as raised:
        annealing_schedule.evaluate_start(path, path.to_path(x), MALA())
    assert str(raised.value).endswith(shown)
    assert str(raised.value).count("0.123") == min(dim, 4)
