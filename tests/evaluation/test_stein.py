"""Stein's identity: the discrepancy detects a wrong score and not wrong weights; temperatures have closed forms."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_cli.energies.mlp import MLP
from ebm_cli.evaluation.stein import ksd, squared_ksd, temperature
from ebm_cli.evaluation.two_sample import median_distance
from ebm_cli.samplers import run
from ebm_cli.samplers.langevin import Langevin
from tests.support import is_mean, normal, seeded


def quadratic(sigma: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x.flatten(1).square().sum(1) / (2 * sigma**2)


def double_well(x: Tensor) -> Tensor:
    return (x**4 / 4 - x**2 / 2).sum(1)


def from_double_well(t: float, n: int, seed: int) -> Tensor:
    """Exact samples [n, 1] of exp(−f/T), by its inverse distribution function on a fine grid."""
    grid = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    cdf = (-double_well(grid[:, None]) / t).exp().cumsum(0)
    return grid[torch.searchsorted(cdf / cdf[-1], torch.rand(n, generator=seeded(seed), dtype=torch.float64))][:, None]


class TestKSD:
    def test_p_values_of_the_model_are_spread_evenly(self) -> None:
        """A tenth of them is below 0.1; signs that do not cancel would make half of them small."""
        p = torch.tensor([ksd(x, -x, seeded(seed), n_boot=99).p for seed, x in enumerate(normal(60, 80, 2, seed=3))])
        assert 1 <= int((p <= 0.1).sum()) <= 13
        assert abs(float(p.mean()) - 0.5) < 4 * 0.29 / 60**0.5

    def test_ksd_is_the_sum_over_pairs_of_the_stein_kernel(self) -> None:
        x, s = normal(6, 3, seed=0), normal(6, 3, seed=1)
        c = median_distance(x)

        total = 0.0
        for i in range(6):
            for j in range(6):
                if i == j:
                    continue
                a, b = x[i].clone().requires_grad_(), x[j].clone().requires_grad_()
                k = (1 + ((a - b) / c).square().sum()).rsqrt()
                by_a, by_b = torch.autograd.grad(k, (a, b), create_graph=True)
                trace = sum(torch.autograd.grad(by_a[d], b, retain_graph=True)[0][d] for d in range(3))
                total += (s[i] @ s[j] * k + s[i] @ by_b + s[j] @ by_a + trace).item()
        assert squared_ksd(x, s) == pytest.approx(total / 30, rel=1e-9)

    def test_mean_is_zero_for_samples_of_the_model_alone(self) -> None:
        samples = [normal(50, 2, seed=i) for i in range(200)]
        assert is_mean(torch.tensor([squared_ksd(x, -x) for x in samples]), 0.0)
        assert not is_mean(torch.tensor([squared_ksd(x, -x / 1.5) for x in samples]), 0.0)

    def test_p_values_are_uniform_for_samples_of_the_model(self) -> None:
        repeats = 400
        p = torch.tensor([ksd(x := normal(100, 2, seed=i), -x, seeded(i), n_boot=199).p for i in range(repeats)])
        for level in (0.05, 0.5):
            assert abs(float((p <= level).double().mean()) - level) < 5 * math.sqrt(level * (1 - level) / repeats)

    @pytest.mark.parametrize("sigma", [0.8, 1.25])
    def test_a_wrong_variance_is_detected(self, sigma: float) -> None:
        x = normal(1000, 2, seed=0)
        value, p = ksd(x, -x / sigma**2, seeded())
        assert value > 0.05
        assert p == 1 / 501

    def test_a_wrong_mean_in_many_dimensions_is_detected(self) -> None:
        x = normal(1000, 20, seed=0)
        assert ksd(x, 0.1 - x, seeded()).p < 0.01

    def test_wrong_weights_of_far_modes_are_not_detected(self) -> None:
        """The known blindness: points of weights 0.2 and 0.8 against the score of 0.5 and 0.5."""
        x = normal(1000, 1, seed=0)
        x[:200] -= 5
        x[200:] += 5
        even = 5 * torch.tanh(5 * x) - x
        assert ksd(x, even, seeded()).p > 0.05
        # At ±1 the modes overlap, and the same weights are a wrong score.
        x = torch.cat((normal(200, 1, seed=0) - 1, normal(800, 1, seed=1) + 1))
        assert ksd(x, torch.tanh(x) - x, seeded()).p == 1 / 501

    def test_value_is_zero_where_the_estimate_is_negative(self) -> None:
        values = [
            (ksd(x := normal(50, 2, seed=i), -x, seeded(), n_boot=1).value, squared_ksd(x, -x)) for i in range(20)
        ]
        assert any(squared < 0 for _, squared in values)
        assert all(value == pytest.approx(math.sqrt(max(squared, 0))) for value, squared in values)

    def test_value_depends_on_neither_blocks_nor_shape_nor_dtype(self) -> None:
        x, s = normal(45, 2, 3, seed=0), normal(45, 2, 3, seed=1)
        whole = squared_ksd(x, s)
        assert squared_ksd(x.flatten(1), s.flatten(1), block=7) == pytest.approx(whole, rel=1e-9)
        assert squared_ksd(x.float(), s.float()) == pytest.approx(whole, rel=1e-4)

    def test_the_first_rows_are_used(self) -> None:
        x, s = normal(45, 2, 3, seed=0), normal(45, 2, 3, seed=1)
        assert squared_ksd(x, s, max_rows=20) == pytest.approx(squared_ksd(x[:20], s[:20]), rel=1e-12)

    def test_points_without_a_discrepancy_are_refused(self) -> None:
        x = normal(10, 2, seed=0)
        with pytest.raises(ValueError, match=r"^score must be finite, got 10 of 10 rows"):
            ksd(x, x / 0, seeded())
        with pytest.raises(ValueError, match=r"^score must have the shape of x, \(10, 2\), got \(10, 1\)"):
            ksd(x, x[:, :1], seeded())
        with pytest.raises(ValueError, match=r"^x must hold at least 2 points, got 1"):
            ksd(x[:1], x[:1], seeded())
        with pytest.raises(ValueError, match=r"^n_boot must be >= 1, got 0"):
            ksd(x, -x, seeded(), n_boot=0)


class TestTemperature:
    @pytest.mark.parametrize(("s", "sigma"), [(1.0, 1.0), (0.7, 1.0), (2.0, 1.3)])
    def test_temperature_of_a_gaussian_is_its_variance_ratio(self, s: float, sigma: float) -> None:
        found = temperature(quadratic(sigma), s * normal(2000, 2, 5, seed=0))
        assert found is not None
        assert abs(found.value - s**2 / sigma**2) < 5 * found.error
        # Var ‖x‖² = 2 D s⁴ and the Laplacian is constant: the standard error is T √(2 / (N D)).
        assert found.error == pytest.approx(s**2 / sigma**2 * math.sqrt(2 / 20_000), rel=0.1)

    def test_temperature_of_an_unadjusted_chain_is_its_bias(self) -> None:
        energy, sigma, eps = quadratic(0.5), 0.5, 0.1
        state, _ = run(Langevin(step_size=eps), energy, sigma * normal(4000, 2, seed=0), 60, seeded())
        found = temperature(energy, state.x)
        assert found is not None
        assert abs(found.value - 1 / (1 - eps / (2 * sigma**2))) < 5 * found.error
        assert abs(found.value - 1) > 5 * found.error

    @pytest.mark.parametrize("t", [0.5, 1.7])
    def test_temperature_in_a_double_well_is_that_of_the_draws(self, t: float) -> None:
        found = temperature(double_well, from_double_well(t, 20_000, 0))
        assert found is not None
        assert abs(found.value - t) < 5 * found.error
        assert found.error < 0.02 * t

    @pytest.mark.slow
    def test_standard_error_is_that_of_the_ratio(self) -> None:
        n_repeats = 400
        found = [temperature(double_well, from_double_well(1.7, 400, seed)) for seed in range(n_repeats)]
        z = torch.tensor([(f.value - 1.7) / f.error for f in found if f is not None])
        assert len(z) == n_repeats
        # The standard deviation of ‖∇f‖² alone, which varies together with the Laplacian, would give 0.6.
        assert float(z.square().mean()) == pytest.approx(1, abs=5 * math.sqrt(2 / n_repeats))

    def test_chains_of_few_steps_from_the_mode_are_too_cold(self) -> None:
        energy = quadratic(1.0)
        short, _ = run(Langevin(step_size=0.01), energy, torch.zeros(4000, 2, dtype=torch.float64), 20, seeded())
        found = temperature(energy, short.x)
        assert found is not None
        # Var after k steps from 0: 2ε Σ (1 − ε)^{2i}.
        assert abs(found.value - 0.02 * sum(0.99 ** (2 * i) for i in range(20))) < 5 * found.error

    def test_temperature_of_a_network_does_not_depend_on_chunks(self) -> None:
        torch.manual_seed(0)
        network, x = MLP(shape=(2,), width=16, base=5.0).double(), normal(101, 2, seed=0)
        whole = temperature(network, x)
        assert whole is not None
        assert temperature(network, x, chunk_numbers=20) == pytest.approx(whole, rel=1e-9)
        assert temperature(lambda u: network(u), x) == pytest.approx(whole, rel=1e-6)
        assert all(p.grad is None for p in network.parameters())

    def test_temperature_is_none_without_positive_curvature(self) -> None:
        x = normal(100, 2, seed=0)
        assert temperature(lambda u: -u.square().sum(1), x) is None
        assert temperature(lambda u: u.sin().sum(1), x) is None  # the mean Laplacian is 0 within its noise
        assert temperature(lambda u: (1000 * u).exp().sum(1), x) is None
        assert temperature(MLP(shape=(2,), width=16, activation="relu").double(), x) is None
        with pytest.raises(ValueError, match=r"^x must hold at least 2 points, got 1"):
            temperature(quadratic(1.0), x[:1])
