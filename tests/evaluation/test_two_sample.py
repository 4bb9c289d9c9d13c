"""Distances between two samples: closed forms, unbiased nulls, exact p-values, and what each detects."""

import math
import time
from itertools import pairwise

import pytest
import torch
from scipy import stats
from torch import Tensor

from ebm_cli.evaluation import classifier_test, two_sample
from ebm_cli.evaluation.classifier_test import ClassifierTest
from ebm_cli.evaluation.two_sample import (
    DIRECTIONS,
    WIDTHS,
    Distance,
    compare,
    median_distance,
    sliced_wasserstein,
    squared_energy_distance,
    squared_mmd,
)
from tests.evaluation.toys import given_labelling
from tests.support import is_mean, normal, seeded

DISTANCES = ("mmd", "energy_distance", "sliced_wasserstein")


def ring(n: int, weights: Tensor, generator: torch.Generator) -> Tensor:
    """Eight Gaussians on a circle, standardised: radius √2, sd 0.175."""
    angle = torch.multinomial(weights.double(), n, replacement=True, generator=generator) * (math.pi / 4)
    noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return math.sqrt(2) * torch.stack((angle.cos(), angle.sin()), dim=1) + 0.175 * noise


@pytest.fixture
def no_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the classifier, which takes longer than everything else."""
    monkeypatch.setattr(classifier_test, "classifier_test", lambda x, y: ClassifierTest(0.5, 0.5))


class TestMMD:
    @pytest.mark.parametrize("shift", [0.0, 0.8])
    def test_mean_is_the_closed_form_between_gaussians(self, shift: float) -> None:
        n, dim, width = 50, 3, 1.7
        found = []
        for i in range(100):
            z = normal(2 * n, dim, seed=i)
            z[:n, 0] += shift
            found.append(float(squared_mmd(z, given_labelling(n), width)))
        expected = 0.0
        for h2 in ((w * width) ** 2 for w in WIDTHS):
            expected += 2 * (h2 / (h2 + 2)) ** (dim / 2) * (1 - math.exp(-(shift**2) / (2 * (h2 + 2)))) / len(WIDTHS)
        assert is_mean(found, expected)
        assert not is_mean(found, expected + 1 / n)  # the estimate with the diagonal, which has a bias of this order

    def test_mmd_is_the_sum_over_pairs(self) -> None:
        x, y, width = normal(7, 2, seed=0), normal(7, 2, seed=1) + 0.5, 1.3

        def k(a: Tensor, b: Tensor) -> float:
            square = float((a - b).square().sum())
            return sum(math.exp(-square / (2 * (w * width) ** 2)) for w in WIDTHS) / len(WIDTHS)

        pairs = [(i, j) for i in range(7) for j in range(7)]
        within = sum(k(x[i], x[j]) + k(y[i], y[j]) for i, j in pairs if i != j) / 42
        between = sum(k(x[i], y[j]) for i, j in pairs) / 49
        got = squared_mmd(torch.cat((x, y)), given_labelling(7), width)
        assert float(got) == pytest.approx(within - 2 * between, rel=1e-10)

    def test_each_width_is_twice_the_last(self) -> None:
        assert [b / a for a, b in pairwise(WIDTHS)] == [2.0] * (len(WIDTHS) - 1)


class TestEnergyDistance:
    @pytest.mark.parametrize("shift", [0.0, 0.7])
    def test_mean_is_the_closed_form_between_gaussians(self, shift: float) -> None:
        n = 50
        found = []
        for i in range(100):
            z = normal(2 * n, 1, seed=i)
            z[:n] += shift
            found.append(float(squared_energy_distance(z, given_labelling(n))))
        # E|N(m, 2)| = (2/√π) exp(−m²/4) + m (1 − 2Φ(−m/√2))
        between = 2 / math.sqrt(math.pi) * math.exp(-(shift**2) / 4)
        between += shift * (1 - 2 * float(stats.norm.cdf(-shift / math.sqrt(2))))
        expected = 2 * between - 4 / math.sqrt(math.pi)
        assert is_mean(found, expected)
        if shift == 0:
            assert not is_mean(found, expected + 4 / (math.sqrt(math.pi) * n))  # with the diagonal

    def test_energy_distance_on_the_line_is_scipys_without_bias(self) -> None:
        x, y = normal(30, 1, seed=0), 1.5 * normal(30, 1, seed=1)
        biased = stats.energy_distance(x.flatten().numpy(), y.flatten().numpy()) ** 2
        unbiased = float(squared_energy_distance(torch.cat((x, y)), given_labelling(30)))
        own = float(torch.pdist(x).mean() + torch.pdist(y).mean())
        assert unbiased == pytest.approx(biased - own / 30, rel=1e-9)


class TestSlicedWasserstein:
    def test_distance_on_the_line_is_scipys(self) -> None:
        x, y = normal(40, 1, seed=0), 1.5 * normal(40, 1, seed=1) + 0.3
        got = sliced_wasserstein(torch.cat((x, y)), given_labelling(40), torch.ones(1, 1, dtype=torch.float64))
        expected = stats.wasserstein_distance(x.flatten().numpy(), y.flatten().numpy())
        assert float(got) == pytest.approx(expected, rel=1e-10)

    def test_distance_to_a_shifted_set_is_the_projected_shift(self) -> None:
        x, shift = normal(40, 5, seed=0), torch.tensor([1.0, -2.0, 0.0, 0.5, 3.0], dtype=torch.float64)
        directions = two_sample._draw_directions(5, seeded())
        got = sliced_wasserstein(torch.cat((x, x + shift)), given_labelling(40), directions)
        torch.testing.assert_close(got[0], (directions @ shift).abs().mean())

    def test_directions_are_uniform_on_the_sphere(self) -> None:
        shift = torch.tensor([1.0, -2.0, 0.0, 0.5, 3.0], dtype=torch.float64)
        lengths = [float((two_sample._draw_directions(5, seeded(i)) @ shift).abs().mean()) for i in range(100)]
        # E|θᵀm| = ‖m‖ Γ(D/2) / (√π Γ((D + 1)/2))
        expected = float(shift.norm()) * math.gamma(2.5) / (math.sqrt(math.pi) * math.gamma(3.0))
        assert is_mean(lengths, expected)
        assert two_sample._draw_directions(5, seeded()).shape == (DIRECTIONS, 5)
        assert two_sample._draw_directions(1, seeded()).abs().tolist() == [[1.0]]


@pytest.fixture(scope="module")
def without_difference() -> list[dict[str, Distance]]:
    """250 comparisons of 30 rows with 30 of the same distribution."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier_test, "classifier_test", lambda x, y: ClassifierTest(0.5, 0.5))
        return [compare(normal(30, 2, seed=2 * i), normal(60, 2, seed=2 * i + 1), seeded(i)) for i in range(250)]


@pytest.mark.slow
@pytest.mark.usefixtures("no_trees")
class TestNull:
    @pytest.mark.parametrize("name", DISTANCES)
    def test_p_values_are_uniform_without_a_difference(
        self, name: str, without_difference: list[dict[str, Distance]]
    ) -> None:
        # MMD and energy distance are 0, with p = 1, for more than half of all samples.
        levels = (0.05, 0.2, 0.5) if name == "sliced_wasserstein" else (0.05, 0.2)
        p = torch.tensor([found[name].p for found in without_difference])
        for level in levels:
            spread = math.sqrt(level * (1 - level) / len(p))
            assert abs(float((p <= level).double().mean()) - level) < 4 * spread, level

    @pytest.mark.parametrize("name", DISTANCES)
    def test_null_is_the_mean_between_samples_of_the_data(
        self, name: str, without_difference: list[dict[str, Distance]]
    ) -> None:
        distances = [found[name] for found in without_difference]
        assert is_mean([d.value - d.null for d in distances], 0.0)
        assert not is_mean([d.value for d in distances], 0.0)

    def test_null_does_not_depend_on_the_model(self) -> None:
        data = normal(200, 3, seed=0)
        good, bad = (compare(normal(100, 3, seed=1) + shift, data, seeded()) for shift in (0.0, 5.0))
        for name in DISTANCES:
            assert good[name].null == bad[name].null, name
            assert good[name].value < 0.2 * bad[name].value, name
            assert (good[name].p > 0.05, bad[name].p) == (True, 1 / 200), name

    def test_scarce_data_make_the_comparison_small(self) -> None:
        found = compare(normal(1000, 13, seed=0), normal(36, 13, seed=1), seeded())
        assert {name: d.n_rows for name, d in found.items()} == dict.fromkeys(DISTANCES, 18) | {"c2st": 36}

    def test_a_comparison_has_a_largest_size(self) -> None:
        found = compare(normal(200, 2, seed=0), normal(300, 2, seed=1), seeded(), max_rows=50)
        assert found["mmd"].n_rows == 50

    def test_order_of_rows_does_not_matter(self) -> None:
        # Sorted, the first half of these rows is another distribution than the second.
        x, data = normal(400, 1, seed=0).sort(0).values, normal(1000, 1, seed=1).sort(0).values
        assert all(compare(x[::2], data, seeded())[name].p > 0.01 for name in DISTANCES)

    def test_a_distance_does_not_depend_on_the_size_of_blocks(self) -> None:
        z, labels = normal(90, 2, seed=0), two_sample.draw_labellings(45, seeded())
        torch.testing.assert_close(squared_mmd(z, labels, 1.0, block=7), squared_mmd(z, labels, 1.0))
        torch.testing.assert_close(squared_energy_distance(z, labels, block=7), squared_energy_distance(z, labels))

    def test_points_have_any_shape_and_precision(self) -> None:
        x, data = normal(40, 2, 3, seed=0).float(), normal(100, 2, 3, seed=1).float()
        assert compare(x, data, seeded()) == compare(x.flatten(1).double(), data.flatten(1).double(), seeded())


class TestDetection:
    """Differences that a distance detects at 1,000 rows: a wrong mode mass, a wrong shape."""

    def test_a_tenth_of_the_mass_in_a_wrong_mode_is_detected(self) -> None:
        generator, right = seeded(), torch.full((8,), 0.125)
        wrong = right.clone()
        wrong[0] += 0.1
        wrong[4] -= 0.1
        data = ring(2000, right, generator)
        found = compare(ring(1000, wrong, generator), data, generator)
        assert [found[name].p for name in DISTANCES] == [1 / 200] * 3
        assert all(found[name].value > 3 * found[name].null for name in DISTANCES)
        assert found["c2st"].p < 0.05
        control = compare(ring(1000, right, generator), data, generator)
        assert all(distance.p > 0.05 for distance in control.values())

    def test_one_wrong_marginal_of_32_is_detected_by_trees_alone(self) -> None:
        x, data = normal(400, 32, seed=0), normal(800, 32, seed=1)
        x[:, 5] = x[:, 5].sign()  # mean and variance stay
        found = compare(x, data, seeded())
        assert found["c2st"].value > 0.8
        assert found["c2st"].p < 1e-6
        assert found["c2st"].null == pytest.approx(0.5, abs=0.05)
        assert all(found[name].p > 0.05 for name in DISTANCES)

    def test_comparison_takes_seconds(self) -> None:
        x, data = normal(1000, 64, seed=0), normal(2000, 64, seed=1)
        classifier_test.classifier_test(x[:10], data[:10])  # scikit-learn's import
        start = time.process_time()
        compare(x, data, seeded())
        assert time.process_time() - start < 6


@pytest.mark.parametrize(("dim", "count"), [(1, 1), (2, 100), (3, 100)])
def test_directions_have_unit_length(dim: int, count: int) -> None:
    directions = two_sample._draw_directions(dim, seeded())
    assert directions.shape == (count, dim)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(count, dtype=torch.float64))


def test_rows_that_cannot_be_compared_are_refused() -> None:
    data = normal(100, 2, seed=0)
    broken = data.clone()
    broken[3, 1], broken[7, 0] = math.nan, math.inf
    with pytest.raises(ValueError, match=r"^x must be finite, got 2 of 100 rows that are not"):
        compare(broken, data, seeded())
    with pytest.raises(ValueError, match=r"^data must be finite"):
        compare(data, broken, seeded())
    with pytest.raises(ValueError, match=r"^x must have the data's 2 coordinates, got 3"):
        compare(normal(100, 3, seed=0), data, seeded())
    with pytest.raises(ValueError, match=r"^100 samples and 19 held-out rows are too few to compare: 10 and 20 are"):
        compare(data, data[:19], seeded())
    with pytest.raises(ValueError, match=r"^data must have at least two different rows"):
        compare(data, torch.ones(100, 2), seeded())


def test_duplicates_do_not_make_the_width_zero() -> None:
    x = torch.zeros(100, 2, dtype=torch.float64)
    x[:5] = 3.0
    assert median_distance(x) == pytest.approx(3 * math.sqrt(2))
