"""Clusters of rows: modes that are apart are found, in any shape, and rows with one mode are not split."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from ebm_cli.evaluation.clusters import find_clusters

Rows = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Rows]


def modes(*means: tuple[float, ...], weights: tuple[float, ...] | None = None, sd: tuple[float, ...] = (1.0,)) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> Rows:
        k = rng.choice(len(means), n, p=weights)
        spread = np.resize(sd, len(means))[k][:, None]
        x: Rows = np.array(means)[k] + spread * rng.normal(size=(n, len(means[0])))
        return x

    return draw


def ring(radius: float | tuple[float, ...], sd: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> Rows:
        angle = 2 * math.pi * rng.random(n)
        r = rng.choice(np.atleast_1d(radius), n) + sd * rng.normal(size=n)
        return np.stack((r * np.cos(angle), r * np.sin(angle)), 1)

    return draw


def moons(rng: np.random.Generator, n: int) -> Rows:
    angle, is_upper = math.pi * rng.random(n), rng.random(n) < 0.5
    x = np.where(is_upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(is_upper, np.sin(angle), 0.5 - np.sin(angle))
    return np.stack((x, y), 1) + 0.07 * rng.normal(size=(n, 2))


def bent(rng: np.random.Generator, n: int) -> Rows:
    z = rng.normal(size=(n, 2))
    z[:, 1] = 0.3 * z[:, 1] + z[:, 0] ** 2
    return z


ONE: dict[str, Draw] = {
    "gaussian, 1-D": modes((0.0,)),
    "gaussian, 2-D": modes((0.0, 0.0)),
    "gaussian, 5-D": modes((0.0,) * 5),
    "gaussian, 20-D": modes((0.0,) * 20),
    "shoulder": modes((0.0,), (3.0,)),
    "student, 1-D": lambda rng, n: rng.standard_t(1.5, (n, 1)),
    "student, 2-D": lambda rng, n: rng.standard_t(1.5, (n, 2)),
    "student, 5-D": lambda rng, n: rng.standard_t(3, (n, 5)),
    "cauchy, 2-D": lambda rng, n: rng.standard_cauchy((n, 2)),
    "uniform, 1-D": lambda rng, n: rng.random((n, 1)),
    "uniform, 2-D": lambda rng, n: rng.random((n, 2)),
    "uniform, 5-D": lambda rng, n: rng.random((n, 5)),
    "exponential": lambda rng, n: rng.exponential(size=(n, 2)),
    "log-normal": lambda rng, n: np.exp(1.5 * rng.normal(size=(n, 2))),
    "gamma": lambda rng, n: rng.gamma(0.5, size=(n, 2)),
    "laplace": lambda rng, n: rng.laplace(size=(n, 5)),
    "bent": bent,
    "ring": ring(1.0, 0.05),
    "collinear": lambda rng, n: rng.normal(size=(n, 1)) * [1.0, 1.0] + 0.01 * rng.normal(size=(n, 2)),
    "whole numbers": lambda rng, n: (2 * rng.normal(size=(n, 2))).round(),
    "zeros and ones": lambda rng, n: (rng.random((n, 3)) < 0.3).astype(float),
}

SEVERAL: dict[str, tuple[Draw, int]] = {
    "two in 1-D": (modes((-5.0,), (5.0,), weights=(0.9, 0.1)), 2),
    "two in 2-D": (modes((-5.0, 0.0), (5.0, 0.0), weights=(0.9, 0.1)), 2),
    "two in 5-D": (modes((-5.0, 0, 0, 0, 0), (5.0, 0, 0, 0, 0), weights=(0.9, 0.1)), 2),
    "two in 20-D": (modes((-5.0,) + (0.0,) * 19, (5.0,) + (0.0,) * 19, weights=(0.8, 0.2)), 2),
    "three": (modes((-5.0, 0.0), (5.0, 0.0), (0.0, 6.0), weights=(0.5, 0.3, 0.2)), 3),
    "unequal widths": (modes((-6.0, 0.0), (1.0, 0.0), sd=(1.5, 0.1)), 2),
    "unequal widths, 5-D": (modes((-6.0, 0, 0, 0, 0), (1.0, 0, 0, 0, 0), sd=(1.5, 0.2)), 2),
    "five by five": (modes(*((2.0 * i, 2.0 * j) for i in range(5) for j in range(5)), sd=(0.1,)), 25),
    "moons": (moons, 2),
    "rings": (ring((1.0, 3.0), 0.1), 2),
}


def count(draw: Draw, n: int, seed: int) -> int:
    rng = np.random.default_rng(seed)
    x = draw(rng, n)
    return find_clusters((x - x.mean(0)) / x.std(0), rng).count


def test_rows_with_one_mode_are_hardly_ever_split() -> None:
    split = [name for name, draw in ONE.items() if count(draw, 300, seed=0) > 1]
    assert len(split) <= 1, split


@pytest.mark.slow
def test_large_samples_with_one_mode_are_hardly_ever_split() -> None:
    split = [name for name, draw in ONE.items() for seed in range(5) if count(draw, 2000, seed) > 1]
    assert len(split) <= 2, split


@pytest.mark.parametrize("name", SEVERAL)
def test_modes_are_found(name: str) -> None:
    draw, expected = SEVERAL[name]
    assert count(draw, 1200, seed=0) == expected


def test_centres_are_near_the_means_of_gaussians() -> None:
    rng = np.random.default_rng(0)
    found = find_clusters(modes((-5.0, 2.0), (5.0, 0.0), weights=(0.9, 0.1))(rng, 1000), rng)
    assert found.count == 2
    np.testing.assert_allclose(found.centres, [[-5.0, 2.0], [5.0, 0.0]], atol=0.5)


def test_points_belong_to_the_group_of_their_nearest_row() -> None:
    rng = np.random.default_rng(0)
    x = modes((-5.0, 0.0, 1.0), (5.0, 0.0, 1.0), weights=(0.7, 0.3))(rng, 600)
    found = find_clusters(x, rng)
    fresh = modes((-5.0, 0.0, 1.0), (5.0, 0.0, 1.0), weights=(0.7, 0.3))(rng, 1000)
    assert (found.label(fresh) == (fresh[:, 0] > 0)).all()
    assert (found.label(x) == (x[:, 0] > 0)).all()


def test_a_constant_column_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    x = modes((-5.0, 0.0), (5.0, 0.0))(rng, 300)
    assert find_clusters(np.column_stack((x, np.zeros(300))), rng).count == 2


def test_copies_of_rows_change_nothing() -> None:
    rng = np.random.default_rng(0)
    x = modes((-5.0, 0.0), (5.0, 0.0), weights=(0.7, 0.3))(rng, 300)
    assert find_clusters(np.repeat(x, 10, axis=0), rng).count == 2
    assert find_clusters(np.repeat(modes((0.0, 0.0))(rng, 300), 10, axis=0), rng).count == 1


def test_few_different_rows_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="too few different training rows to find modes: 1, and 50 are needed"):
        find_clusters(np.zeros((200, 2)), rng)
