"""Quadrature against closed forms, and what it must refuse."""

import math
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Gaussian, Mixture, Synthetic
from ebm_cli.datasets.base import Dataset
from ebm_cli.datasets.batches import Batches
from ebm_cli.datasets.standardizer import Standardizer
from ebm_cli.densities import Gaussian as FittedGaussian
from ebm_cli.energies.mlp import MLP
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation.divergences import DivergenceResult, Divergences, with_learned_log_z
from ebm_cli.evaluation.log_z import Normalisation
from ebm_cli.evaluation.measured import Results
from ebm_cli.evaluation.not_integrable import NotIntegrable
from ebm_cli.evaluation.quadrature import Quadrature, integrate
from ebm_cli.evaluation.quadrature_grid import COARSE_GRID, FINE_GRID, Grid, Resolution
from tests.support import seeded

LOG_2PI = math.log(2 * math.pi)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def bumps(means: list[list[float]], stds: list[float], weights: list[float]) -> Callable[[Tensor], Tensor]:
    """−log Σ_k w_k N(m_k, s_k² I), whose log Z is 0."""
    m, s, w = torch.tensor(means), torch.tensor(stds), torch.tensor(weights)

    def energy(u: Tensor) -> Tensor:
        square = (u[:, None] - m).square().sum(2) / s**2
        return -torch.logsumexp(w.log() - 0.5 * square - m.shape[1] * (0.5 * LOG_2PI + s.log()), 1)

    return energy


def divergences_of(energy: Callable[[Tensor], Tensor], data: Dataset, **how: Any) -> DivergenceResult:
    return Divergences(data, **how)(energy)


def around_normal(dim: int, resolution: Resolution = FINE_GRID) -> Grid:
    return Grid.around(torch.randn(5000, dim, generator=seeded()), resolution)


def inside(quadrature: Quadrature, ring: int) -> float:
    """log of the integral over the box that ends with this ring: what a box of fixed size would report."""
    cells = quadrature.grid.ring() <= ring
    return float(torch.logsumexp((quadrature.grid.log_weights() - quadrature.energy)[cells].flatten(), 0))


class Rows(Dataset):
    """Held-out rows without a density."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.shape, self.density, self.rows = tuple(rows.shape[1:]), None, rows
        self.standardizer = Standardizer.fit(rows)

    @property
    def reference(self) -> Tensor:
        return self.rows

    def held_out(self, n: int) -> Tensor:
        return self.rows[:n]

    def validation(self, n: int) -> Tensor:
        return self.held_out(n)

    def batches(self, batch_size: int, rng: torch.Generator) -> Batches:
        raise NotImplementedError


class TestGrid:
    @pytest.mark.parametrize("dim", [1, 2])
    def test_the_weights_sum_to_the_volume_of_the_box(self, dim: int) -> None:
        grid = around_normal(dim)
        side = 2 * grid.core * 2**grid.n_shells
        assert grid.log_weights().exp().sum().item() == pytest.approx(side**dim, rel=1e-12)

    @pytest.mark.parametrize("dim", [1, 2])
    def test_splitting_keeps_the_volume_and_the_ring(self, dim: int) -> None:
        grid = around_normal(dim)
        children = grid.split()
        torch.testing.assert_close(children.log_weights().exp().sum(), grid.log_weights().exp().sum())
        assert torch.equal(children.ring(), grid.ring().repeat_interleave(2**dim))

    @pytest.mark.parametrize("dim", [1, 2])
    def test_the_composite_rule_is_exact_for_polynomials_of_degree_15(self, dim: int) -> None:
        grid = around_normal(dim)
        grid = grid.take(grid.ring() <= 2)
        grid = Grid(grid.centre - grid.origin, grid.half, grid.origin * 0, grid.core, grid.n_shells)
        u, w, half = grid.nodes(), grid.log_weights().exp(), 4 * grid.core
        for degree in (0, 2, 8, 14):
            moment = 2 * half ** (degree + 1) / (degree + 1)
            got = (w * (u**degree).prod(2)).sum().item()
            assert got == pytest.approx(moment**dim, rel=1e-12), degree
        odd = (w * u[..., 0] ** 15).sum().item()
        assert abs(odd) < 1e-12 * half**16 * (2 * half) ** (dim - 1)

    def test_a_degree_too_high_is_not_exact(self) -> None:
        grid = Grid(torch.zeros(1, 1), torch.ones(1), torch.zeros(1), 1.0, 1)
        got = (grid.log_weights().exp() * grid.nodes()[..., 0] ** 16).sum().item()
        assert abs(got - 2 / 17) > 1e-6


class TestPartition:
    @pytest.mark.parametrize("resolution", [FINE_GRID, COARSE_GRID])
    @pytest.mark.parametrize(("dim", "mean", "std"), [(1, 0.7, 0.3), (2, -0.4, 1.3), (2, 3.0, 0.05), (1, 40.0, 6.0)])
    def test_log_z_of_a_gaussian(self, resolution: Resolution, dim: int, mean: float, std: float) -> None:
        result = integrate(
            lambda u: ((u - mean) ** 2).sum(1) / (2 * std**2), around_normal(dim, resolution), resolution, (dim,)
        )
        assert result.log_z == pytest.approx(dim * (0.5 * LOG_2PI + math.log(std)), abs=1e-8)
        assert result.border_mass < 1e-6
        assert result.masses().sum().item() == pytest.approx(1, abs=1e-12)

    def test_a_rotated_narrow_gaussian(self) -> None:
        precision = torch.tensor([[1.0, 0.95 * 20], [0.95 * 20, 400.0]])
        rows = torch.linalg.solve(torch.linalg.cholesky(precision).T, torch.randn(2, 5000, generator=seeded())).T
        result = integrate(lambda u: 0.5 * ((u @ precision) * u).sum(1), Grid.around(rows, FINE_GRID), FINE_GRID, (2,))
        assert result.log_z == pytest.approx(LOG_2PI - 0.5 * float(precision.logdet()), abs=1e-8)
        assert result.error < 1e-6

    @pytest.mark.parametrize("width", [0.3, 0.1, 0.05, 0.02])
    def test_the_error_estimate_bounds_the_error(self, width: float) -> None:
        energy = bumps([[0.3, -0.7], [-1.1, 0.4]], [width, 2 * width], [0.4, 0.6])
        for resolution in (FINE_GRID, COARSE_GRID, Resolution(core=12, shell=4, tolerance=1e-4, max_nodes=100_000)):
            result = integrate(energy, around_normal(2, resolution), resolution, (2,))
            assert abs(math.expm1(result.log_z)) < result.error + 1e-13

    def test_peaks_narrower_than_the_cells(self) -> None:
        means = torch.rand(25, 2, generator=seeded(1)).mul(4).sub(2).tolist()
        energy = bumps(means, [0.03] * 25, [0.04] * 25)
        for resolution in (FINE_GRID, COARSE_GRID):
            assert integrate(energy, around_normal(2, resolution), resolution, (2,)).log_z == pytest.approx(0, abs=1e-8)

    def test_mass_far_from_the_data_is_found_across_an_empty_gap(self) -> None:
        energy = bumps([[0, 0], [30, 0]], [1.0, 0.5], [0.7, 0.3])
        result = integrate(energy, around_normal(2), FINE_GRID, (2,))
        assert result.log_z == pytest.approx(0, abs=1e-8)
        assert result.box > 30
        # The control: no mass lies at the border of the next two boxes, and a box widened until then would stop there.
        assert inside(result, 1) == pytest.approx(math.log(0.7), abs=1e-3)
        assert inside(result, 2) - inside(result, 1) < 1e-6

    @pytest.mark.parametrize(
        ("energy", "reason"),
        [
            (lambda u: 0.0 * u[:, 0], "not integrable"),
            (lambda u: -u[:, 0].abs(), "not integrable"),
            (lambda u: u[:, 0].square(), "not integrable"),
            (lambda u: 1.5 * u.square().sum(1).add(1).log(), "not integrable"),
            (lambda u: u[:, 0].log(), "energy is nan"),
            (lambda u: u.square().sum(1) + torch.full_like(u[:, 0], math.inf), "infinite everywhere"),
            (lambda u: torch.where(u[:, 0] > 1, -math.inf, 0.0), "energy is -inf"),
        ],
    )
    def test_what_has_no_log_z_is_refused_with_a_reason(self, energy: Callable[[Tensor], Tensor], reason: str) -> None:
        with pytest.raises(NotIntegrable, match=reason):
            integrate(energy, around_normal(2), FINE_GRID, (2,))

    def test_the_refusal_says_beyond_which_box_the_mass_lies(self) -> None:
        """A flat energy's mass is volume: three quarters of the last box, ±2^n core, lie beyond the one before it."""
        grid = around_normal(2)
        reach = grid.core * 2 ** (grid.n_shells - 1)
        with pytest.raises(NotIntegrable, match=re.escape(f"0.75 of its mass lies beyond ±{reach:.3g}")):
            integrate(lambda u: 0.0 * u[:, 0], grid, FINE_GRID, (2,))
        assert 500 <= reach < 1000

    def test_what_the_nodes_do_not_resolve_is_refused(self) -> None:
        means = torch.randn(100, 2, generator=seeded(1)).tolist()
        starved = Resolution(core=12, shell=4, tolerance=1e-6, max_nodes=20_000)
        with pytest.raises(NotIntegrable, match="not resolved"):
            integrate(bumps(means, [0.01] * 100, [0.01] * 100), around_normal(2, starved), starved, (2,))

    @pytest.mark.parametrize(("max_nodes", "resolved"), [(40_000, False), (80_000, True)])
    def test_a_hundredth_is_as_much_error_as_there_may_be(self, max_nodes: int, resolved: bool) -> None:
        """The same bumps, with an estimate of 0.44 and one of 0.0024."""
        energy = bumps(torch.randn(100, 2, generator=seeded(1)).tolist(), [0.05] * 100, [0.01] * 100)
        resolution = Resolution(core=12, shell=4, tolerance=1e-6, max_nodes=max_nodes)
        if resolved:
            assert integrate(energy, around_normal(2, resolution), resolution, (2,)).log_z == pytest.approx(0, abs=0.01)
        else:
            with pytest.raises(NotIntegrable, match=r"not resolved by \d+ nodes: relative error 0\.\d"):
                integrate(energy, around_normal(2, resolution), resolution, (2,))

    def test_a_hard_wall_is_integrated(self) -> None:
        result = integrate(
            lambda u: torch.where(u.abs().amax(1) < 1.0, 0.0, math.inf), around_normal(1), FINE_GRID, (1,)
        )
        assert result.log_z == pytest.approx(math.log(2), abs=1e-6)

    def test_a_float32_network_agrees_with_itself_in_float64(self) -> None:
        torch.manual_seed(0)
        network = MLP(shape=(2,), width=32)
        exact = integrate(network, around_normal(2), FINE_GRID, (2,)).log_z
        single = integrate(network.float(), around_normal(2), FINE_GRID, (2,)).log_z
        assert single == pytest.approx(exact, abs=1e-5)

    @pytest.mark.parametrize(
        "bad", [{"core": 0}, {"shell": 6}, {"shell": 0}, {"tolerance": 0.0}, {"tolerance": 1.0}, {"max_nodes": 0}]
    )
    def test_ranges(self, bad: dict[str, float]) -> None:
        (name,) = bad
        with pytest.raises(ValueError, match=f"^{name} must be"):
            Resolution(**{"core": 12, "shell": 4, "tolerance": 1e-6, "max_nodes": 1000, **bad})  # type: ignore[arg-type]


class TestTwoGaussians:
    """p = N(m, S) in data units; the model N(a, A) as a quadratic energy in standardised units."""

    M = torch.tensor([3.0, -1.0], dtype=torch.float64)
    S = torch.tensor([[4.0, 1.2], [1.2, 0.81]], dtype=torch.float64)
    A_MEAN = torch.tensor([3.5, -1.4], dtype=torch.float64)
    A_COV = torch.tensor([[5.0, 0.5], [0.5, 1.1]], dtype=torch.float64)

    def made(self, offset: float = 0.0) -> tuple[Synthetic, Callable[[Tensor], Tensor]]:
        data = Synthetic(Gaussian(2, self.M.tolist(), self.S.tolist()))
        assert not torch.allclose(data.standardizer.scale, torch.ones(2), atol=0.05)
        precision = torch.linalg.inv(self.A_COV)

        def energy(u: Tensor) -> Tensor:
            x = data.standardizer.inverse(u) - self.A_MEAN
            return 0.5 * ((x @ precision) * x).sum(1) + offset

        return data, energy

    @pytest.mark.parametrize("resolution", [FINE_GRID, COARSE_GRID])
    def test_every_measure_equals_its_closed_form(self, resolution: Resolution) -> None:
        data, energy = self.made(offset=-7.0)
        values = divergences_of(energy, data, resolution=resolution).results.values
        precision, shift = torch.linalg.inv(self.A_COV), self.M - self.A_MEAN
        kl = 0.5 * float(
            (precision @ self.S).trace() + shift @ precision @ shift - 2 + self.A_COV.logdet() - self.S.logdet()
        )
        entropy = LOG_2PI + 1 + 0.5 * float(self.S.logdet())
        # log p − log q = ½ (yᵀ B y + 2 gᵀy) + const with y = x − m, B = A⁻¹ − S⁻¹, g = A⁻¹(m − a)
        gap, slope = precision - torch.linalg.inv(self.S), precision @ shift
        variance = 0.5 * float((gap @ self.S @ gap @ self.S).trace()) + float(slope @ self.S @ slope)
        fisher = 0.5 * float((gap @ self.S @ gap).trace() + slope @ slope)
        log_z = LOG_2PI + 0.5 * float(self.A_COV.logdet()) + 7.0 - float(data.standardizer.log_det)
        assert values["eval/kl"] == pytest.approx(kl, abs=1e-6)
        assert values["eval/entropy"] == pytest.approx(entropy, abs=1e-6)
        assert values["eval/nll"] == pytest.approx(kl + entropy, abs=1e-6)
        assert values["eval/log_density_mse"] == pytest.approx(variance + kl**2, abs=1e-6)
        assert values["eval/fisher"] == pytest.approx(fisher, abs=1e-6)
        assert values["eval/log_z"] == pytest.approx(log_z, abs=1e-8)
        assert values["eval/log_z_method"] == "grid"
        assert "eval/mode_tv" not in values

    def test_the_truth_itself_has_no_divergence(self) -> None:
        data = self.made()[0]
        result = divergences_of(lambda u: -data.density.log_prob(data.standardizer.inverse(u)), data)
        for key in ("eval/kl", "eval/log_density_mse", "eval/fisher"):
            assert result.results.values[key] == pytest.approx(0, abs=1e-9)

    def test_one_dimension(self) -> None:
        data = Synthetic(Gaussian(1, [2.0], [[9.0]]))
        values = divergences_of(lambda u: (data.standardizer.inverse(u)[:, 0] - 1.0) ** 2 / 8, data).results.values
        assert values["eval/kl"] == pytest.approx(math.log(2 / 3) + 10 / 8 - 0.5, abs=1e-6)
        assert values["eval/fisher"] == pytest.approx(0.5 * (9 * (1 / 4 - 1 / 9) ** 2 + (1 / 4) ** 2), abs=1e-6)


class TestEvaluate:
    def test_mass_far_away_is_paid_for(self) -> None:
        data = Synthetic(Gaussian(2), standardize=False)
        far = divergences_of(bumps([[0, 0], [30, 0]], [1.0, 0.5], [0.7, 0.3]), data).results.values
        assert far["eval/kl"] == pytest.approx(-math.log(0.7), abs=1e-6)

    def test_mode_masses_of_a_mixture_with_wrong_weights(self) -> None:
        means, stds = [[-4.0, 0.0], [4.0, 0.0], [0.0, 6.0]], [0.5, 0.4, 0.6]
        data = Synthetic(Mixture(means, stds, [0.5, 0.3, 0.2]))
        model = bumps(means, stds, [0.2, 0.35, 0.45])
        result = divergences_of(lambda u: model(data.standardizer.inverse(u)), data)
        assert result.results.values["eval/mode_tv"] == pytest.approx(0.3, abs=1e-6)
        torch.testing.assert_close(result.data_modes, torch.tensor([0.5, 0.3, 0.2]), atol=1e-6, rtol=0)
        torch.testing.assert_close(result.model_modes, torch.tensor([0.2, 0.35, 0.45]), atol=1e-6, rtol=0)

    def test_an_energy_without_log_z_has_a_reason_instead_of_numbers(self) -> None:
        result = divergences_of(lambda u: -u[:, 0], Synthetic(Gaussian(2)))
        assert "not integrable" in result.results.absent["eval/log_z"]
        assert "eval/log_z" not in result.results.values
        assert set(result.results.values) == {"eval/entropy", "eval/fisher", "eval/fisher_flat"}

    def test_the_closed_form_is_used_and_the_grid_stands_beside_it(self) -> None:
        result = divergences_of(Quadratic((2,), precision=2.0), Synthetic(Gaussian(2)))
        assert result.results.values["eval/log_z_method"] == "exact"
        assert result.results.values["eval/log_z"] == pytest.approx(LOG_2PI - math.log(2), abs=1e-12)
        assert result.results.values["eval/log_z_grid"] == pytest.approx(LOG_2PI - math.log(2), abs=1e-8)

    def test_rows_without_a_density(self) -> None:
        rows = torch.randn(4000, 2, generator=seeded()) * torch.tensor([2.0, 0.5])
        data = Rows(rows)
        values = divergences_of(lambda u: 0.5 * u.square().sum(1), data, n_rows=4000).results.values
        expected = (
            torch.distributions.Normal(data.standardizer.mean, data.standardizer.scale).log_prob(rows).sum(1).mean()
        )
        assert values["eval/nll"] == pytest.approx(-float(expected), abs=1e-8)
        differences = {"eval/nll_vs_gaussian", "eval/nll_vs_gaussian_se"}
        assert set(values) - differences == {
            "eval/log_z", "eval/log_z_method", "eval/border_mass", "eval/nll", "eval/nll_se"
        }  # fmt: skip

    def test_without_a_density_the_model_is_measured_against_the_fitted_gaussian(self) -> None:
        """A model that is the fitted Gaussian ties exactly; N(0, 4 I) loses by KL(N(0, I) ‖ N(0, 4 I)) a row."""
        data = Rows(torch.randn(4000, 2, generator=seeded()))
        fitted = FittedGaussian(data.reference)
        tie = divergences_of(lambda u: -fitted.log_prob(u), data, n_rows=4000).results.values
        assert tie["eval/nll_vs_gaussian"] == pytest.approx(0, abs=1e-9)
        wide = divergences_of(lambda u: u.square().sum(1) / 8, data, n_rows=4000).results.values
        error = wide["eval/nll_vs_gaussian_se"]
        assert isinstance(error, float)
        assert wide["eval/nll_vs_gaussian"] == pytest.approx(2 * math.log(2) - 0.75, abs=5 * error)
        # The rows' ⅜‖u‖² has standard deviation ¾: nothing else varies.
        assert error == pytest.approx(0.75 / math.sqrt(4000), rel=0.1)

    def test_an_uncertain_log_z_is_in_the_error_of_what_it_enters(self) -> None:
        data, model = Synthetic(Gaussian(5)), Quadratic((5,), precision=1.5)
        exact = Divergences(data)(model).results.values
        vague = Divergences(data)(model, Normalisation(2.0, se=0.3)).results.values
        assert vague["eval/kl_se"] == pytest.approx(math.hypot(exact["eval/kl_se"], 0.3))  # type: ignore[arg-type]

    def test_many_dimensions_need_a_closed_form(self) -> None:
        data = Synthetic(Gaussian(5))
        without = divergences_of(lambda u: 0.5 * u.square().sum(1), data)
        assert "5 dimensions" in without.results.absent["eval/log_z"]
        assert set(without.results.values) == {"eval/entropy", "eval/fisher", "eval/fisher_flat"}
        # A model without a score is as far from N(0, I) as half its Fisher information, D/2: ½ E‖x‖².
        assert without.results.values["eval/fisher_flat"] == pytest.approx(
            2.5, abs=5 * math.sqrt(10) / 2 / math.sqrt(10_000)
        )
        model = Quadratic((5,), precision=1.5)
        values = divergences_of(model, data, n_rows=20_000).results.values
        # Five standard errors of the mean of ¼‖u‖² − const over 20,000 rows.
        exact = 0.5 * 5 * (1.5 - 1 - math.log(1.5))
        assert values["eval/kl"] == pytest.approx(exact, abs=5 * math.sqrt(10) / 4 / math.sqrt(20_000))
        assert values["eval/log_z_method"] == "exact"

    def test_the_learned_log_z_and_its_gap(self) -> None:
        assert with_learned_log_z(Results({"eval/log_z": 1.5}), 2.0).values["eval/log_z_gap"] == pytest.approx(0.5)
        assert with_learned_log_z(Results(), 2.0).values == {"eval/log_z_learned": 2.0}

    def test_a_periodic_evaluation_calls_nothing_of_the_data_again(self) -> None:
        data = Synthetic(Gaussian(2))
        divergences = Divergences(data, resolution=COARSE_GRID)
        first = divergences(lambda u: 0.4 * u.square().sum(1))
        data.density = None  # type: ignore[assignment]
        assert divergences(lambda u: 0.4 * u.square().sum(1)).results.values == first.results.values

    def test_the_energy_keeps_no_graph_and_no_gradient(self) -> None:
        network = MLP(shape=(2,), width=16)
        divergences_of(network, Synthetic(Gaussian(2)), resolution=COARSE_GRID)
        assert all(p.grad is None for p in network.parameters())

    def test_n_rows(self) -> None:
        with pytest.raises(ValueError, match=r"^n_rows must be >= 2, got 1"):
            Divergences(Synthetic(Gaussian(2)), n_rows=1)

    def test_the_final_evaluation_takes_seconds(self) -> None:
        torch.manual_seed(0)
        divergences = Divergences(Synthetic(Gaussian(2)))
        network = MLP(shape=(2,)).float()
        start = time.process_time()
        divergences(network)
        assert time.process_time() - start < 5
