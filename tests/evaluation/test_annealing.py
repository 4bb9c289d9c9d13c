"""Annealed importance sampling against closed forms and the grid: its number, its error, and what it must refuse."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Gaussian
from ebm_cli.densities.gaussian import Gaussian as FittedGaussian
from ebm_cli.densities.uniform import Uniform
from ebm_cli.derivatives import first_order, value_and_grad
from ebm_cli.energies.mlp import MLP
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation.annealing import (
    Annealed,
    Bracket,
    anneal,
    anneal_back,
    bracket,
    resample,
)
from ebm_cli.evaluation.annealing_path import Path, Points
from ebm_cli.evaluation.annealing_schedule import Schedule, plan_schedule
from ebm_cli.evaluation.importance_weights import effective_size, n_families, standard_error, systematic_indices
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.quadrature import integrate
from ebm_cli.evaluation.quadrature_grid import FINE_GRID, Grid
from ebm_cli.samplers import EnergyFn, Info, Kernel, State
from ebm_cli.samplers.base import normal_like
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from tests.support import seeded

LOG_2PI = math.log(2 * math.pi)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def normal(dim: int, variance: float = 1.0) -> Gaussian:
    return Gaussian(dim, cov=(variance * torch.eye(dim, dtype=torch.float64)).tolist())


class Bumps:
    """−log of a mixture of equal weights and one standard deviation; log Z = 0."""

    def __init__(self, means: Tensor, std: float) -> None:
        self.means, self.std = means, std
        k, dim = means.shape
        self.constant = math.log(k) + dim * (0.5 * LOG_2PI + math.log(std))
        self.square = means.square().sum(1)

    def __call__(self, x: Tensor) -> Tensor:
        square = x.square().sum(1, keepdim=True) - 2 * x @ self.means.T + self.square
        return self.constant - torch.logsumexp(-square / (2 * self.std**2), 1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        k = torch.randint(len(self.means), (n,), generator=rng)
        return self.means[k] + self.std * torch.randn(n, self.means.shape[1], generator=rng)


def eight(dim: int, seed: int) -> Bumps:
    """The mixture of the check: standard deviation 0.7, centres 3 · N(0, I)."""
    return Bumps(3 * torch.randn(8, dim, generator=seeded(1000 + seed)), 0.7)


def skewed(dim: int = 3) -> Quadratic:
    """A Gaussian off the base's centre and of another scale in each direction."""
    energy = Quadratic((dim,))
    with torch.no_grad():
        energy.mean.copy_(torch.linspace(-1, 1, dim))
        energy.raw_precision.copy_(torch.linspace(0.5, 4, dim).diag())
    return energy.requires_grad_(False)


def truth(energy: Quadratic) -> float:
    log_z = energy.log_z()
    assert log_z is not None
    return float(log_z.detach())


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


class TestPath:
    def test_it_starts_at_the_base_and_ends_at_the_model(self) -> None:
        for fade in (0.01, math.inf):
            path = Path(skewed(), normal(3), fade)
            assert path.exponents(0.0) == (1, 0)
            assert path.exponents(1.0) == (0, 1)
        assert Path(skewed(), normal(3), 0.01).exponents(0.01)[0] == pytest.approx(0.99 / 2)
        assert Path(skewed(), normal(3), math.inf).exponents(0.3) == (0.7, 0.3)

    @pytest.mark.parametrize("energy", [MLP((2, 3)), lambda x: x.flatten(1).square().sum(1).sin()])
    def test_its_gradient_is_that_of_its_formula(self, energy: EnergyFn) -> None:
        base = FittedGaussian(torch.randn(100, 2, 3, generator=seeded()))
        path = Path(energy, base, 0.01)
        path.level = 0.3
        a, c = path.exponents(0.3)
        x = torch.randn(5, 2, 3, generator=seeded(1)).requires_grad_()
        expected = c * energy(x) - a * base.log_prob(x)
        value, grad = value_and_grad(path, x)
        torch.testing.assert_close(value, expected.detach())
        torch.testing.assert_close(grad, torch.autograd.grad(expected.sum(), x)[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(path(x.detach()), value)

    @pytest.mark.parametrize("kernel", [MALA(0.4), HMC(0.5, n_leapfrog=3), Metropolis(0.8)])
    def test_what_it_remembers_of_the_chains_is_what_it_would_evaluate(self, kernel: Kernel) -> None:
        energy = skewed()
        path = Path(energy, normal(3), 0.01)
        with_grad = kernel.evaluations(1).grad > 0
        points = path.evaluate(torch.randn(100, 3, generator=seeded()), with_grad=with_grad)
        for b in (0.01, 0.3, 1.0):
            path.level = b
            before = points
            points, accept = path.move(kernel, points, seeded(1))
            stayed = (points.x == before.x).all(1)
            assert stayed.any()
            assert not stayed.all()
            assert (~stayed).double().mean().item() == pytest.approx(accept.mean().item(), abs=0.2)
            for kept, fresh in zip(points, path.evaluate(points.x, with_grad=with_grad), strict=True):
                assert (kept is None) == (fresh is None) == (not with_grad and kept is None)
                if kept is not None:
                    torch.testing.assert_close(kept, fresh)

    def test_many_chains_are_moved_together(self) -> None:
        """Gradients of many points are taken in chunks; what a path remembers of its chains is all of them."""
        n = first_order.MAX_ROWS + 3
        path = Path(MLP((3,), width=8), normal(3), 0.01)
        path.level = 0.3
        points = path.evaluate(torch.randn(n, 3, generator=seeded()), with_grad=True)
        moved, accept = path.move(MALA(0.05), points, seeded(1))
        assert moved.x.shape == (n, 3)
        assert bool((accept > 0.5).any())
        again = path.evaluate(moved.x, with_grad=True)
        torch.testing.assert_close(moved.f, again.f)

    def test_a_change_of_level_costs_nothing_and_is_the_difference(self) -> None:
        path = Path(skewed(), normal(3), 0.01)
        points = path.evaluate(torch.randn(7, 3, generator=seeded()), with_grad=True)
        path.level = 0.2
        low = path(points.x)
        change = path.energy_change(points, 0.7)
        spent = path.evaluations
        path.level = 0.7
        torch.testing.assert_close((path(points.x) - low).double(), change, atol=1e-5, rtol=1e-5)
        assert spent == 14

    def test_an_infinite_energy_that_does_not_count_is_no_nan(self) -> None:
        path = Path(lambda x: x[:, 0] * math.inf, normal(1), 0.01)
        points = path.evaluate(torch.ones(2, 1), with_grad=False)
        assert path(points.x).isfinite().all()
        assert (path.energy_change(points, 0.1) == math.inf).all()


class TestLogZ:
    @pytest.mark.parametrize("kernel", [MALA(), HMC(n_leapfrog=3), Metropolis()])
    @pytest.mark.parametrize("fade", [0.01, math.inf])
    def test_of_a_gaussian(self, kernel: Kernel, fade: float) -> None:
        energy = skewed()
        result = anneal(energy, normal(3, 4.0), rng=seeded(), n_chains=200, n_temperatures=60, kernel=kernel, fade=fade)
        assert result.log_z_se < 0.15
        assert abs(result.log_z - truth(energy)) < 4 * result.log_z_se
        assert result.warning is None

    def test_of_images_in_the_energys_dtype(self) -> None:
        energy = Quadratic((1, 3, 3)).double()
        base = FittedGaussian(torch.randn(1000, 1, 3, 3, generator=seeded(), dtype=torch.float64))
        result = anneal(energy, base, rng=seeded(), n_chains=100, n_temperatures=50)
        assert (result.x.shape, result.x.dtype) == ((100, 1, 3, 3), torch.float64)
        assert abs(result.log_z - truth(energy)) < 4 * result.log_z_se
        assert resample(result, 7, seeded()).shape == (7, 1, 3, 3)

    def test_of_a_network_is_that_of_the_grid(self) -> None:
        torch.manual_seed(0)
        energy = MLP((2,), width=32).double().requires_grad_(False)
        base = FittedGaussian(torch.randn(1000, 2, generator=seeded()).double())
        exact = integrate(
            energy, Grid.around(torch.randn(1000, 2, generator=seeded()), FINE_GRID), FINE_GRID, (2,)
        ).log_z
        result = anneal(energy, base, rng=seeded(), n_chains=300, n_temperatures=100)
        assert result.log_z_se < 0.1
        assert abs(result.log_z - exact) < 4 * result.log_z_se

    def test_of_half_a_gaussian(self) -> None:
        def half(x: Tensor) -> Tensor:
            return torch.where(x[:, 0] < 0, math.inf, 0.5 * x.square().sum(1))

        result = anneal(half, normal(2, 4.0), rng=seeded(), n_chains=400, n_temperatures=50)
        assert abs(result.log_z - (LOG_2PI - math.log(2))) < 4 * result.log_z_se
        assert result.log_z_se < 0.2
        assert (resample(result, 1000, seeded())[:, 0] >= 0).all()

    def test_a_chain_outside_has_no_weight(self) -> None:
        def half(x: Tensor) -> Tensor:
            return torch.where(x[:, 0] < 0, math.inf, 0.5 * x.square().sum(1))

        made = plan_schedule(half, normal(1, 4.0), rng=seeded(), levels=(0.0, 1.0))
        result = anneal(half, normal(1, 4.0), rng=seeded(), n_chains=200, schedule=made)
        dead = result.log_weights == -math.inf
        assert 70 < dead.sum() < 130
        assert (result.x[~dead] >= 0).all()

    def test_fixed_levels_are_used_as_they_are(self) -> None:
        levels = (0.0, *torch.logspace(-2, 0, 30).double().tolist()[:-1], 1.0)
        made = plan_schedule(skewed(), normal(3, 4.0), rng=seeded(), levels=levels)
        assert made.levels == levels
        result = anneal(skewed(), normal(3, 4.0), rng=seeded(), n_chains=200, schedule=made)
        assert abs(result.log_z - truth(skewed())) < 4 * result.log_z_se

    def test_the_weights_give_log_z_and_the_draws_are_the_models(self) -> None:
        energy = skewed()
        result = anneal(energy, normal(3, 4.0), rng=seeded(), n_chains=1000, n_temperatures=40)
        log_mean = float(result.log_weights.logsumexp(0)) - math.log(1000)
        assert log_mean == pytest.approx(result.log_z, abs=1e-9)
        draws = resample(result, 2000, seeded())
        error = 5 * (energy.precision.diagonal().reciprocal() / result.ess).sqrt()
        assert ((draws.mean(0) - energy.mean).abs() < error).all()
        assert (draws.var(0) * energy.precision.diagonal()).tolist() == pytest.approx([1, 1, 1], abs=0.25)

    def test_it_is_a_function_of_the_seed(self) -> None:
        def once(seed: int) -> Annealed:
            return anneal(skewed(), normal(3, 4.0), rng=seeded(seed), n_chains=50, n_temperatures=20)

        a, b, other = once(3), once(3), once(4)
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.log_weights, b.log_weights)
        assert replace(a, x=b.x, log_weights=b.log_weights) == b
        assert a.log_z != other.log_z

    @pytest.mark.parametrize("kernel", [MALA(), HMC(n_leapfrog=3), Metropolis()])
    def test_every_evaluation_is_counted(self, kernel: Kernel) -> None:
        calls = 0

        def counted(x: Tensor) -> Tensor:
            nonlocal calls
            calls += len(x)
            return 0.5 * x.square().sum(1)

        result = anneal(counted, normal(2, 4.0), rng=seeded(), n_chains=30, n_temperatures=20, kernel=kernel)
        assert result.evaluations == calls
        steps = kernel.evaluations(20)
        assert result.evaluations == result.schedule.evaluations + 30 * (steps.grad + steps.energy)


class TestUnbiased:
    """E[Ẑ] = Z for any number of chains and levels; here 20 chains that are resampled at each of 5 levels."""

    N = 250

    def relative(self, made: Schedule, *, back: bool = False) -> Tensor:
        """Ẑ/Z, or Z/Ẑ of the way back, of N small runs."""
        energy = skewed()
        exact, base, g = truth(energy), normal(3, 4.0), seeded(5)
        scale = energy.precision.diagonal().rsqrt()
        log_z = []
        for _ in range(self.N):
            if back:
                x = energy.mean + scale * torch.randn(20, 3, generator=g)
                log_z.append(exact - anneal_back(energy, base, x, made, rng=g, resample_below=1.0).log_z)
            else:
                log_z.append(anneal(energy, base, rng=g, n_chains=20, schedule=made, resample_below=1.0).log_z - exact)
        return torch.tensor(log_z, dtype=torch.float64).exp()

    def made(self, kernel: Kernel) -> Schedule:
        return plan_schedule(skewed(), normal(3, 4.0), rng=seeded(), n_temperatures=6, kernel=kernel, fade=math.inf)

    @pytest.mark.parametrize("back", [False, True])
    def test_the_mean_of_z_is_z(self, back: bool) -> None:
        z = self.relative(self.made(MALA()), back=back)
        assert abs(z.mean() - 1) < 4 * z.std() / math.sqrt(self.N)
        assert z.std() / math.sqrt(self.N) < 0.1

    def test_not_with_a_kernel_that_accepts_everything(self) -> None:
        made = replace(self.made(MALA()), kernel=Reckless())
        z = self.relative(replace(made, step_sizes=(1.0,) * len(made.levels)))
        assert abs(z.mean() - 1) > 6 * z.std() / math.sqrt(self.N)


class TestBothSides:
    ENERGY = Bumps(torch.tensor([[-2.0, 0.0, 0.0], [2.0, 1.0, 0.0]]), 0.5)

    def both(self, made: Schedule, n_chains: int, g: torch.Generator) -> tuple[Annealed, Annealed]:
        base = normal(3, 4.0)
        forward = anneal(self.ENERGY, base, rng=g, n_chains=n_chains, schedule=made)
        return forward, anneal_back(self.ENERGY, base, self.ENERGY.sample, made, rng=g, n_chains=n_chains)

    def made(self, n_temperatures: int) -> Schedule:
        return plan_schedule(self.ENERGY, normal(3, 4.0), rng=seeded(), n_temperatures=n_temperatures)

    def test_a_short_path_bounds_log_z_from_both_sides(self) -> None:
        made, g = self.made(4), seeded(1)
        pairs = [self.both(made, 10, g) for _ in range(100)]
        for side, sign in ((0, -1), (1, 1)):
            errors = torch.tensor([pair[side].log_z for pair in pairs])
            assert sign * errors.mean() > 3 * errors.std() / 10

    def test_a_longer_path_closes_the_gap(self) -> None:
        forward, back = self.both(self.made(200), 300, seeded())
        report = bracket(forward, back)
        assert abs(report.gap) < 0.2
        assert abs(report.log_z) < 4 * report.log_z_se
        assert report.log_z_se < min(forward.log_z_se, back.log_z_se)
        assert forward.evaluations - forward.schedule.evaluations == back.evaluations

    def test_sides_that_disagree_widen_the_error(self) -> None:
        forward, back = self.both(self.made(20), 20, seeded())
        apart = bracket(replace(forward, log_z=-1.0, log_z_se=0.1), replace(back, log_z=1.0, log_z_se=0.1))
        assert apart == Bracket(-1.0, 1.0, 2.0, pytest.approx(0.0, abs=1e-12), 1.0)
        close = bracket(replace(forward, log_z=0.0, log_z_se=0.3), replace(back, log_z=0.1, log_z_se=0.4))
        assert close.log_z_se == pytest.approx(0.24)
        assert close.log_z == pytest.approx(0.1 * 0.09 / 0.25)
        # Two and a half standard errors of their difference are too many.
        beyond = bracket(replace(forward, log_z=0.0, log_z_se=0.3), replace(back, log_z=1.25, log_z_se=0.4))
        assert beyond.log_z_se == pytest.approx(0.625)

    def test_a_path_of_one_level_is_a_path(self) -> None:
        assert math.isfinite(self.both(self.made(1), 20, seeded())[0].log_z)


class TestHonesty:
    def test_the_error_is_the_spread_over_seeds(self) -> None:
        energy, base = skewed(), normal(3, 4.0)
        made = plan_schedule(energy, base, rng=seeded(), n_temperatures=30)
        g = seeded(1)
        runs = [anneal(energy, base, rng=g, n_chains=64, schedule=made) for _ in range(80)]
        log_z = torch.tensor([run.log_z for run in runs])
        se = torch.tensor([run.log_z_se for run in runs])
        assert float(se.mean() / log_z.std()) == pytest.approx(1, abs=0.3)
        assert ((log_z - truth(energy)).abs() < 2 * se).sum() >= 70

    def test_few_families_are_called_a_guess(self) -> None:
        energy = Bumps(torch.zeros(1, 30), 0.05)
        result = anneal(energy, normal(30), rng=seeded(), n_chains=100, n_temperatures=10)
        assert result.ess < 25
        assert result.warning is not None
        assert "chains carry the weight" in result.warning

    def test_nan_at_the_start_is_no_number(self) -> None:
        with pytest.raises(NotIntegrable, match="the energy is nan at u = "):
            anneal(lambda x: (x[:, 0] - 1).sqrt(), normal(2), rng=seeded())

    def test_nan_farther_out_is_said(self) -> None:
        def hole(x: Tensor) -> Tensor:
            return torch.where(x[:, 0] > 4, math.nan, 0.02 * x.square().sum(1))

        result = anneal(hole, normal(1), rng=seeded(1), n_chains=30, n_temperatures=100)
        assert result.warning is not None
        assert "NaN" in result.warning

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
    def test_what_has_no_z(self, energy: Callable[[Tensor], Tensor], reason: str) -> None:
        with pytest.raises(NotIntegrable, match=reason):
            anneal(energy, normal(2), rng=seeded(), n_chains=50, n_temperatures=50)

    def test_what_it_refuses(self) -> None:
        energy, base = skewed(), normal(3)
        with pytest.raises(ValueError, match="no acceptance test"):
            anneal(energy, base, rng=seeded(), kernel=Langevin())
        with pytest.raises(ValueError, match="temperature"):
            anneal(energy, base, rng=seeded(), kernel=MALA(temperature=2.0))
        with pytest.raises(ValueError, match="n_temperatures"):
            anneal(energy, base, rng=seeded(), n_temperatures=0)
        with pytest.raises(ValueError, match="n_chains"):
            anneal(energy, base, rng=seeded(), n_chains=9)
        with pytest.raises(ValueError, match="fade"):
            anneal(energy, base, rng=seeded(), fade=0.0)
        with pytest.raises(ValueError, match="levels"):
            plan_schedule(energy, base, rng=seeded(), levels=(0.0, 0.5, 0.5, 1.0))
        made = plan_schedule(energy, base, rng=seeded(), n_temperatures=5)
        with pytest.raises(ValueError, match="9 samples"):
            anneal_back(energy, base, torch.zeros(9, 3), made, rng=seeded())
        with pytest.raises(ValueError, match="not the model's"):
            anneal_back(lambda x: x[:, 0].log().abs(), base, torch.eye(3).repeat(4, 1), made, rng=seeded())
        with pytest.raises(ValueError, match="Uniform has no gradient"):
            anneal(energy, Uniform(torch.randn(10, 3, generator=seeded())), rng=seeded())


class TestResampling:
    def test_every_index_comes_as_often_as_its_weight_says(self) -> None:
        weights = torch.tensor([0.0, 0.5, 0.125, 0.375, 0.0], dtype=torch.float64)
        for seed in range(20):
            counts = systematic_indices(weights.log(), 8, seeded(seed)).bincount(minlength=5)
            assert counts.tolist() == [0, 4, 1, 3, 0]

    def test_families_are_what_counts(self) -> None:
        log_w = torch.tensor([1.0, 2.0, 3.0, 2.0], dtype=torch.float64).log()
        assert effective_size(log_w) == pytest.approx(64 / 18)
        assert n_families(log_w, torch.arange(4)) == pytest.approx(64 / 18)
        assert n_families(log_w, torch.tensor([0, 0, 2, 2])) == pytest.approx(64 / 34)
        assert n_families(log_w, torch.zeros(4, dtype=torch.long)) == pytest.approx(1)
        with pytest.raises(NotIntegrable, match="no chain has any weight"):
            n_families(log_w - math.inf, torch.arange(4))

    def test_the_error_of_single_chains_is_the_usual_one(self) -> None:
        w = torch.rand(50, generator=seeded(), dtype=torch.float64)
        ess = n_families(w.log(), torch.arange(50))
        usual = float(w.std() / w.mean()) / math.sqrt(50)
        assert standard_error(ess, 50) == pytest.approx(usual * math.sqrt((ess - 1) / (ess - 3)))
        assert standard_error(2.9, 50) == math.inf
        assert standard_error(3.5, 50) == pytest.approx(math.sqrt((50 / 3.5 - 1) / 49 * 2.5 / 0.5))
        assert standard_error(50.0, 50) == 0

    def test_odd_shares_come_out_on_average(self) -> None:
        log_w = torch.randn(10, generator=seeded(), dtype=torch.float64)
        g = seeded(1)
        counts = sum(systematic_indices(log_w, 7, g).bincount(minlength=10) for _ in range(2000))
        assert isinstance(counts, Tensor)
        expected = 7 * log_w.softmax(0)
        torch.testing.assert_close(counts.double() / 2000, expected, atol=0.06, rtol=0)

    def test_points_stay_together(self) -> None:
        x = torch.arange(6.0).view(3, 2)
        points = Points(x, x.sum(1), x * 2, x.prod(1), None).take(torch.tensor([2, 2, 0]))
        assert points.x.tolist() == [[4, 5], [4, 5], [0, 1]]
        assert points.f.tolist() == [9, 9, 1]
        assert points.u_grad is None


def collinear(dim: int = 12) -> tuple[Tensor, Quadratic]:
    """Rows of nearly collinear columns, variances of 10⁻⁴ to 10, and another Gaussian of the same axes."""
    axes = torch.linalg.qr(torch.randn(dim, dim, generator=seeded(5))).Q
    widths = torch.logspace(-2, 0.5, dim)
    energy = Quadratic((dim,))
    with torch.no_grad():
        energy.raw_precision.copy_(axes @ torch.diag(1 / (1.4 * widths).square()) @ axes.T)
    return torch.randn(2000, dim, generator=seeded(6)) * widths @ axes.T, energy


def test_nearly_collinear_columns_do_not_hold_the_chains_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """log Z from both sides in the base's own coordinates; the same chains in the data's do not get anywhere."""
    rows, energy = collinear()
    truth = energy.log_z()
    assert truth is not None
    base = FittedGaussian(rows, ridge=1e-6)
    forward = anneal(energy, base, rng=seeded(1), n_chains=200, n_temperatures=300)
    back = anneal_back(energy, base, energy.sample, forward.schedule, rng=seeded(2), n_chains=200)
    for side in (forward, back):
        assert abs(side.log_z - float(truth.detach())) < 3 * side.log_z_se < 0.4
    assert float(energy(forward.x).detach().mean()) == pytest.approx(6.0, abs=1.0), (
        "half of a chi-square with 12 degrees of freedom"
    )
    monkeypatch.setattr("ebm_cli.evaluation.annealing_path.ILL_CONDITIONED", math.inf)
    held_up = anneal(energy, base, rng=seeded(1), n_chains=200, n_temperatures=300)
    assert held_up.log_z_se > 3 * forward.log_z_se


def test_a_model_that_is_nearly_the_base_is_not_reached_through_wide_distributions() -> None:
    """Its log Z is nearly exact, however ill-conditioned the base; on the bent path it would not be."""
    rows = torch.randn(200, 10, generator=seeded()) * torch.logspace(-1.5, 0.5, 10)
    base = FittedGaussian(rows)

    def model(x: Tensor) -> Tensor:
        return 0.05 * torch.sin(x[:, 0]) - base.log_prob(x) - 3.0

    straight = anneal(model, base, rng=seeded(1), n_chains=200, n_temperatures=100)
    x = base.sample(200_000, seeded(2))
    truth = 3.0 + float((-0.05 * torch.sin(x[:, 0])).double().exp().mean().log())
    assert abs(straight.log_z - truth) < 0.01
    assert straight.log_z_se < 0.01
    even = tuple(i / 100 for i in range(101))
    bent = anneal(
        model, base, rng=seeded(1), n_chains=200, schedule=plan_schedule(model, base, rng=seeded(3), levels=even)
    )
    assert bent.log_z_se > 0.1


@pytest.mark.slow
class TestCheck:
    """The mixture of eight, from N(0, 16 I): 20 seeds, each with a pilot of its own."""

    @pytest.mark.parametrize(
        ("dim", "n_chains", "seed", "bound"),
        [(2, 1000, 0, 0.03), (10, 1000, 0, 0.1), (10, 128, 0, 0.2), (10, 128, 3, 0.2), (50, 1000, 0, 0.1)],
    )
    def test_two_standard_errors_cover_the_truth(self, dim: int, n_chains: int, seed: int, bound: float) -> None:
        energy, base = eight(dim, seed), normal(dim, 16.0)
        runs = [anneal(energy, base, rng=seeded(s), n_chains=n_chains) for s in range(20)]
        assert max(run.log_z_se for run in runs) <= bound
        assert sum(abs(run.log_z) < 2 * run.log_z_se for run in runs) >= 17
        if dim == 2:
            assert max(abs(run.log_z) for run in runs) < bound

    def test_not_on_the_geometric_path(self) -> None:
        """There some modes get a chain in a hundred, and the runs that miss one do not know it."""
        energy, base = eight(10, 0), normal(10, 16.0)
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
