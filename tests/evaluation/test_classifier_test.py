"""The classifier test: accuracy, p-values that are uniform without a difference, and mode weights that are detected."""

import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ebm_cli.evaluation.classifier_test import classifier_test, p_of_means
from tests.support import is_mean, normal, seeded


def two_modes(n: int, weight: float, seed: int) -> Tensor:
    """Modes at −5 and 5 of a first coordinate, sd 1: `weight` is that of the left one."""
    x = normal(n, 2, seed=seed)
    is_left = torch.rand(n, generator=seeded(seed + 10_000)) < weight
    x[:, 0] += torch.where(is_left, -5.0, 5.0)
    return x


DENSITIES: dict[str, Callable[[int, int], Tensor]] = {
    "gaussian": lambda n, seed: normal(n, 2, seed=seed),
    "mixture": lambda n, seed: two_modes(n, 0.9, seed),
    "ties": lambda n, seed: (2 * normal(n, 2, seed=seed)).round(),
    "ten dimensions": lambda n, seed: normal(n, 10, seed=seed),
}


@pytest.mark.parametrize("distance", [1.0, 2.0])
def test_accuracy_is_near_bayes_between_shifted_gaussians(distance: float) -> None:
    n = 2000
    x, y = normal(n, 2, seed=0), normal(n, 2, seed=1)
    bayes = float(stats.norm.cdf(distance / 2))
    accuracy = classifier_test(x + distance / math.sqrt(2), y).accuracy
    assert bayes - 0.04 < accuracy < bayes + 5 * math.sqrt(0.25 / (2 * n))


@pytest.mark.slow
def test_accuracy_is_a_guess_without_a_difference() -> None:
    n = 60
    found = [classifier_test(normal(n, 3, seed=2 * i), normal(n, 3, seed=2 * i + 1)) for i in range(20)]
    assert is_mean([one.accuracy for one in found], 0.5)
    assert sum(one.p <= 0.05 for one in found) <= 4  # 1 expected at most


def test_wrong_mode_weights_are_seen_by_p_and_not_by_accuracy() -> None:
    right, wrong = two_modes(3000, 0.9, 0), two_modes(3000, 0.983, 1)
    found = classifier_test(wrong, right)
    assert found.p < 1e-6
    assert found.accuracy < 0.55
    assert classifier_test(two_modes(3000, 0.9, 2), right).p > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("density", DENSITIES)
def test_one_density_is_refused_as_often_as_it_should_be(density: str) -> None:
    draw, repeats = DENSITIES[density], 400
    p = [classifier_test(draw(200, 2 * i), draw(200, 2 * i + 1)).p for i in range(repeats)]
    share = sum(one <= 0.05 for one in p) / repeats
    # Twice the smaller of two p-values: between 0.025 for equal ones and 0.05 for independent ones.
    assert 0.0125 < share < 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)


def test_p_of_means_is_that_of_all_relabellings() -> None:
    value, n = np.random.default_rng(0).normal(size=12), 6
    value[:n] += 0.8
    first = np.arange(12) < n
    exact = stats.permutation_test(
        (value[first], value[~first]), lambda a, b: a.mean() - b.mean(), alternative="greater", vectorized=False
    ).pvalue
    assert p_of_means(value, first) == pytest.approx(exact, abs=0.01)
    assert p_of_means(-value, first) == pytest.approx(1 - exact, abs=0.01)


def test_p_of_means_is_at_least_one_relabelling() -> None:
    first = np.arange(8) < 4
    assert p_of_means(first.astype(float), first) == 1 / 70
    assert p_of_means(np.ones(8), first) == 1.0


def test_classifier_needs_no_scikit_learn_in_the_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    assert 0 <= classifier_test(normal(50, 2, seed=0), normal(50, 2, seed=1)).accuracy <= 1
    with pytest.raises(ImportError):
        classifier_test(normal(50, 17, seed=0), normal(50, 17, seed=1))


def test_the_test_does_not_depend_on_chance() -> None:
    x, y = normal(100, 2, seed=0), normal(100, 2, seed=1) + 0.5
    assert classifier_test(x, y) == classifier_test(x, y)
