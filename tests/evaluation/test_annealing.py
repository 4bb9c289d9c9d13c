"""Annealed importance sampling against closed forms and quadrature: log Z, its standard error, and its warnings."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from ebm_cli.densities.gaussian import Gaussian as FittedGaussian
from ebm_cli.derivatives import value_and_grad
from ebm_cli.energies.mlp import MLP
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation.annealing import Annealed, Bracket, anneal, anneal_back, bracket, resample
from ebm_cli.evaluation.annealing_schedule import AnnealingSchedule, plan_schedule
from ebm_cli.evaluation.quadrature import integrate
from ebm_cli.evaluation.quadrature_grid import FINE_GRID, Grid
from ebm_cli.samplers import EnergyFn, Info, Kernel, State
from ebm_cli.samplers.base import normal_like
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from tests.evaluation.toys import LOG_2PI, Bumps, exact_log_z, normal_density, skewed_gaussian
from tests.support import seeded


@dataclass(frozen=True)
class Reckless(Kernel):
    """Random steps that nothing corrects: the broken kernel."""

    step_size: float = 0.3
    target_accept: ClassVar[float | None] = 0.5

    def init(self, energy: EnergyFn, x: Tensor, rng: torch.Generator) -> State:
        return State(x, *value_and_grad(energy, x), {})

    def step(self, energy: EnergyFn, state: State, rng: torch.Generator) -> tuple[State, Info]:
        x = state.x + self.step_size * normal_like(state.x, rng)
        return State(x, *value_and_grad(energy, x), {}), Info(x.new_full((len(x),), 0.5))


def half_gaussian(x: Tensor) -> Tensor:
    return torch.where(x[:, 0] < 0, math.inf, 0.5 * x.square().sum(1))


# --- log Z ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [MALA(), HMC(n_leapfrog=3), Metropolis()])
@pytest.mark.parametrize("fade", [0.01, math.inf])
def test_log_z_of_a_gaussian_is_exact_within_its_error(kernel: Kernel, fade: float) -> None:
    energy = skewed_gaussian()
    result = anneal(
        energy, normal_density(3, 4.0), rng=seeded(), n_chains=200, n_temperatures=60, kernel=kernel, fade=fade
    )
    assert result.log_z_se < 0.15
    assert abs(result.log_z - exact_log_z(energy)) < 4 * result.log_z_se
    assert result.warning is None


def test_log_z_of_images_is_computed_in_the_dtype_of_the_energy() -> None:
    energy = Quadratic((1, 3, 3)).double()
    base = FittedGaussian(torch.randn(1000, 1, 3, 3, generator=seeded(), dtype=torch.float64))
    result = anneal(energy, base, rng=seeded(), n_chains=100, n_temperatures=50)
    assert (result.x.shape, result.x.dtype) == ((100, 1, 3, 3), torch.float64)
    assert abs(result.log_z - exact_log_z(energy)) < 4 * result.log_z_se
    assert resample(result, 7, seeded()).shape == (7, 1, 3, 3)


def test_log_z_of_a_network_agrees_with_quadrature() -> None:
    torch.manual_seed(0)
    energy = MLP((2,), width=32).double().requires_grad_(False)
    base = FittedGaussian(torch.randn(1000, 2, generator=seeded()).double())
    grid = Grid.around(torch.randn(1000, 2, generator=seeded()), FINE_GRID)
    exact = integrate(energy, grid, FINE_GRID, (2,)).log_z
    result = anneal(energy, base, rng=seeded(), n_chains=300, n_temperatures=100)
    assert result.log_z_se < 0.1
    assert abs(result.log_z - exact) < 4 * result.log_z_se


def test_log_z_of_half_a_gaussian_is_half() -> None:
    result = anneal(half_gaussian, normal_density(2, 4.0), rng=seeded(), n_chains=400, n_temperatures=50)
    assert abs(result.log_z - (LOG_2PI - math.log(2))) < 4 * result.log_z_se
    assert result.log_z_se < 0.2
    assert (resample(result, 1000, seeded())[:, 0] >= 0).all()


def test_a_chain_outside_the_support_has_no_weight() -> None:
    schedule = plan_schedule(half_gaussian, normal_density(1, 4.0), rng=seeded(), levels=(0.0, 1.0))
    result = anneal(half_gaussian, normal_density(1, 4.0), rng=seeded(), n_chains=200, schedule=schedule)
    is_dead = result.log_weights == -math.inf
    assert 70 < is_dead.sum() < 130
    assert (result.x[~is_dead] >= 0).all()


def test_weights_give_log_z_and_resampling_gives_the_model() -> None:
    energy = skewed_gaussian()
    result = anneal(energy, normal_density(3, 4.0), rng=seeded(), n_chains=1000, n_temperatures=40)
    log_mean = float(result.log_weights.logsumexp(0)) - math.log(1000)
    assert log_mean == pytest.approx(result.log_z, abs=1e-9)
    draws = resample(result, 2000, seeded())
    error = 5 * (energy.precision.diagonal().reciprocal() / result.ess).sqrt()
    assert ((draws.mean(0) - energy.mean).abs() < error).all()
    assert (draws.var(0) * energy.precision.diagonal()).tolist() == pytest.approx([1, 1, 1], abs=0.25)


def test_annealing_is_a_function_of_the_seed() -> None:
    def once(seed: int) -> Annealed:
        return anneal(skewed_gaussian(), normal_density(3, 4.0), rng=seeded(seed), n_chains=50, n_temperatures=20)

    a, b, other = once(3), once(3), once(4)
    assert torch.equal(a.x, b.x)
    assert torch.equal(a.log_weights, b.log_weights)
    assert replace(a, x=b.x, log_weights=b.log_weights) == b
    assert a.log_z != other.log_z


@pytest.mark.parametrize("kernel", [MALA(), HMC(n_leapfrog=3), Metropolis()])
def test_annealing_counts_its_evaluations(kernel: Kernel) -> None:
    calls = 0

    def counted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += len(x)
        return 0.5 * x.square().sum(1)

    result = anneal(counted, normal_density(2, 4.0), rng=seeded(), n_chains=30, n_temperatures=20, kernel=kernel)
    assert result.evaluations == calls
    steps = kernel.evaluations(20)
    assert result.evaluations == result.schedule.evaluations + 30 * (steps.grad + steps.energy)


def collinear(dim: int = 12) -> tuple[Tensor, Quadratic]:
    """Rows of nearly collinear columns, variances of 10⁻⁴ to 10, and another Gaussian of the same axes."""
    axes = torch.linalg.qr(torch.randn(dim, dim, generator=seeded(5))).Q
    widths = torch.logspace(-2, 0.5, dim)
    energy = Quadratic((dim,))
    with torch.no_grad():
        energy.raw_precision.copy_(axes @ torch.diag(1 / (1.4 * widths).square()) @ axes.T)
    return torch.randn(2000, dim, generator=seeded(6)) * widths @ axes.T, energy


@pytest.mark.slow
def test_log_z_is_right_for_nearly_collinear_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """From both sides, in the coordinates of the base; in those of the data the same chains hardly move."""
    rows, energy = collinear()
    truth = energy.log_z()
    assert truth is not None
    base = FittedGaussian(rows, ridge=1e-6)
    forward = anneal(energy, base, rng=seeded(1), n_chains=200, n_temperatures=300)
    back = anneal_back(energy, base, energy.sample, forward.schedule, rng=seeded(2), n_chains=200)
    for side in (forward, back):
        assert abs(side.log_z - float(truth.detach())) < 3 * side.log_z_se < 0.4
    # Half of a chi-square with 12 degrees of freedom.
    assert float(energy(forward.x).detach().mean()) == pytest.approx(6.0, abs=1.0)
    monkeypatch.setattr("ebm_cli.evaluation.annealing_path.ILL_CONDITIONED", math.inf)
    slow = anneal(energy, base, rng=seeded(1), n_chains=200, n_temperatures=300)
    assert slow.log_z_se > 3 * forward.log_z_se


# --- no bias ----------------------------------------------------------------------------------------------------------

N_RUNS = 250


def relative_z(schedule: AnnealingSchedule, *, back: bool = False) -> Tensor:
    """Ẑ/Z, or Z/Ẑ of the way back, of N_RUNS runs of 20 chains that are resampled at each of 5 levels."""
    energy = skewed_gaussian()
    exact, base, g = exact_log_z(energy), normal_density(3, 4.0), seeded(5)
    scale = energy.precision.diagonal().rsqrt()
    log_z = []
    for _ in range(N_RUNS):
        if back:
            x = energy.mean + scale * torch.randn(20, 3, generator=g)
            log_z.append(exact - anneal_back(energy, base, x, schedule, rng=g, resample_below=1.0).log_z)
        else:
            found = anneal(energy, base, rng=g, n_chains=20, schedule=schedule, resample_below=1.0)
            log_z.append(found.log_z - exact)
    return torch.tensor(log_z, dtype=torch.float64).exp()


def short_schedule() -> AnnealingSchedule:
    return plan_schedule(skewed_gaussian(), normal_density(3, 4.0), rng=seeded(), n_temperatures=6, fade=math.inf)


@pytest.mark.parametrize("back", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_z_is_unbiased_for_few_chains_and_levels(back: bool) -> None:
    z = relative_z(short_schedule(), back=back)
    assert abs(z.mean() - 1) < 4 * z.std() / math.sqrt(N_RUNS)
    assert z.std() / math.sqrt(N_RUNS) < 0.1


def test_z_is_biased_with_a_kernel_that_accepts_everything() -> None:
    schedule = replace(short_schedule(), kernel=Reckless())
    z = relative_z(replace(schedule, step_sizes=(1.0,) * len(schedule.levels)))
    assert abs(z.mean() - 1) > 6 * z.std() / math.sqrt(N_RUNS)


# --- from both sides --------------------------------------------------------------------------------------------------

TWO_MODES = Bumps(torch.tensor([[-2.0, 0.0, 0.0], [2.0, 1.0, 0.0]]), 0.5)


def both_sides(schedule: AnnealingSchedule, n_chains: int, g: torch.Generator) -> tuple[Annealed, Annealed]:
    base = normal_density(3, 4.0)
    forward = anneal(TWO_MODES, base, rng=g, n_chains=n_chains, schedule=schedule)
    return forward, anneal_back(TWO_MODES, base, TWO_MODES.sample, schedule, rng=g, n_chains=n_chains)


def schedule_of(n_temperatures: int) -> AnnealingSchedule:
    return plan_schedule(TWO_MODES, normal_density(3, 4.0), rng=seeded(), n_temperatures=n_temperatures)


@pytest.mark.slow
def test_a_short_path_bounds_log_z_from_both_sides() -> None:
    schedule, g = schedule_of(4), seeded(1)
    pairs = [both_sides(schedule, 10, g) for _ in range(100)]
    for side, sign in ((0, -1), (1, 1)):
        errors = torch.tensor([pair[side].log_z for pair in pairs])
        assert sign * errors.mean() > 3 * errors.std() / 10


def test_a_longer_path_closes_the_gap() -> None:
    forward, back = both_sides(schedule_of(200), 300, seeded())
    report = bracket(forward, back)
    assert abs(report.gap) < 0.2
    assert abs(report.log_z) < 4 * report.log_z_se
    assert report.log_z_se < min(forward.log_z_se, back.log_z_se)
    assert forward.evaluations - forward.schedule.evaluations == back.evaluations


def test_bracket_widens_the_error_of_sides_that_disagree() -> None:
    forward, back = both_sides(schedule_of(20), 20, seeded())
    apart = bracket(replace(forward, log_z=-1.0, log_z_se=0.1), replace(back, log_z=1.0, log_z_se=0.1))
    assert apart == Bracket(-1.0, 1.0, 2.0, pytest.approx(0.0, abs=1e-12), 1.0)
    close = bracket(replace(forward, log_z=0.0, log_z_se=0.3), replace(back, log_z=0.1, log_z_se=0.4))
    assert close.log_z_se == pytest.approx(0.24)
    assert close.log_z == pytest.approx(0.1 * 0.09 / 0.25)
    # Within two standard errors of their difference they agree, even where half the gap exceeds the joint error.
    apart_by_noise = bracket(replace(forward, log_z=0.0, log_z_se=0.3), replace(back, log_z=0.9, log_z_se=0.4))
    assert apart_by_noise.log_z_se == pytest.approx(0.24)
    # Two and a half standard errors of their difference are too many.
    beyond = bracket(replace(forward, log_z=0.0, log_z_se=0.3), replace(back, log_z=1.25, log_z_se=0.4))
    assert beyond.log_z_se == pytest.approx(0.625)


def test_a_path_of_one_level_gives_a_finite_log_z() -> None:
    assert math.isfinite(both_sides(schedule_of(1), 20, seeded())[0].log_z)


def test_samples_that_are_no_samples_of_the_model_are_refused() -> None:
    energy, base = skewed_gaussian(), normal_density(3)
    schedule = plan_schedule(energy, base, rng=seeded(), n_temperatures=5)
    with pytest.raises(ValueError, match="9 samples"):
        anneal_back(energy, base, torch.zeros(9, 3), schedule, rng=seeded())
    with pytest.raises(ValueError, match="not the model's"):
        anneal_back(lambda x: x[:, 0].log().abs(), base, torch.eye(3).repeat(4, 1), schedule, rng=seeded())


# --- the standard error, and warnings ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_standard_error_is_the_spread_over_seeds() -> None:
    energy, base = skewed_gaussian(), normal_density(3, 4.0)
    schedule = plan_schedule(energy, base, rng=seeded(), n_temperatures=30)
    g = seeded(1)
    runs = [anneal(energy, base, rng=g, n_chains=64, schedule=schedule) for _ in range(80)]
    log_z = torch.tensor([run.log_z for run in runs])
    se = torch.tensor([run.log_z_se for run in runs])
    assert float(se.mean() / log_z.std()) == pytest.approx(1, abs=0.3)
    assert ((log_z - exact_log_z(energy)).abs() < 2 * se).sum() >= 70


def test_few_families_give_a_warning() -> None:
    energy = Bumps(torch.zeros(1, 30), 0.05)
    result = anneal(energy, normal_density(30), rng=seeded(), n_chains=100, n_temperatures=10)
    assert result.ess < 25
    assert result.warning is not None
    assert "chains carry the weight" in result.warning


def test_a_nan_far_out_gives_a_warning() -> None:
    def hole(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 4, math.nan, 0.02 * x.square().sum(1))

    result = anneal(hole, normal_density(1), rng=seeded(1), n_chains=30, n_temperatures=100)
    assert result.warning is not None
    assert "NaN" in result.warning


# --- the mixture of eight, from N(0, 16 I): 20 seeds, each with a pilot of its own -----------------------------------


def eight_modes(dim: int, seed: int) -> Bumps:
    """Standard deviation 0.7, centres 3 · N(0, I)."""
    return Bumps(3 * torch.randn(8, dim, generator=seeded(1000 + seed)), 0.7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dim", "n_chains", "seed", "bound"),
    [(2, 1000, 0, 0.03), (10, 1000, 0, 0.1), (10, 128, 0, 0.2), (10, 128, 3, 0.2), (50, 1000, 0, 0.1)],
)
def test_two_standard_errors_cover_log_z_of_eight_modes(dim: int, n_chains: int, seed: int, bound: float) -> None:
    energy, base = eight_modes(dim, seed), normal_density(dim, 16.0)
    runs = [anneal(energy, base, rng=seeded(s), n_chains=n_chains) for s in range(20)]
    assert max(run.log_z_se for run in runs) <= bound
    assert sum(abs(run.log_z) < 2 * run.log_z_se for run in runs) >= 17
    if dim == 2:
        assert max(abs(run.log_z) for run in runs) < bound


@pytest.mark.slow
def test_the_geometric_path_is_overconfident_for_eight_modes() -> None:
    """Some modes get a chain in a hundred there, and the error of a run that misses one does not show it."""
    energy, base = eight_modes(10, 0), normal_density(10, 16.0)
    geometric, spread = (
        torch.tensor(
            [
                (r.log_z, r.log_z_se)
                for r in (anneal(energy, base, rng=seeded(s), n_chains=128, fade=h) for s in range(20))
            ]
        )
        for h in (math.inf, 0.01)
    )
    assert geometric[:, 0].std() > 1.8 * spread[:, 0].std()
    assert (geometric[:, 0] / geometric[:, 1]).square().mean() > 1.3 * (spread[:, 0] / spread[:, 1]).square().mean()
