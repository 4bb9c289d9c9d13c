"""Mode masses and entropy of Langevin chains with less noise."""

from dataclasses import replace

import pytest
import torch

from ebm_cli.datasets import GaussianRing
from ebm_cli.lecture import WhyTheNoise, why_the_noise
from tests.lecture.measurements import passed
from tests.support import seeded

SMALL = WhyTheNoise(noise_scales=[1, 0.5, 0], step_size=0.03, n_steps=300, n_chains=200, seed=0)


@pytest.fixture(scope="module")
def found() -> dict[str, bool]:
    return passed(SMALL.measure([]))


def test_exact_draws_have_the_known_entropy() -> None:
    """2.8316 nats; the Gaussians of the modes have 0.006 more, because they overlap a little."""
    target = GaussianRing().double()
    found = why_the_noise._describe("", target.sample(50_000, seeded()), target)
    assert found["entropy, nats"] == pytest.approx(2.8316, abs=0.02)
    assert found["mode TV"] < 0.01


def test_chains_without_noise_end_in_points(found: dict[str, bool]) -> None:
    assert found["no noise collapses"]
    assert found["less noise keeps the start"]
    assert found["less noise is colder"]


def test_full_noise_needs_time_to_forget_its_start(found: dict[str, bool]) -> None:
    """Negative control: after 9 units of time the masses of the modes are still those of the start."""
    assert found["full noise samples"] is False


def test_points_of_one_mode_have_no_entropy_of_masses() -> None:
    target = GaussianRing().double()
    x = target.means[0] + 0.1 * torch.randn(5000, 2, generator=seeded(), dtype=torch.float64)
    found = why_the_noise._describe("", x, target)
    assert found["mode TV"] == pytest.approx(7 / 8)
    assert found["spread in a mode, σ"] == pytest.approx(0.1 / target.std, rel=0.05)


@pytest.mark.parametrize("scales", [[0.5, 0], [1, 0.5], []])
def test_scales_begin_with_one_and_end_with_zero(scales: list[float]) -> None:
    with pytest.raises(ValueError, match="noise_scales must begin with 1"):
        replace(SMALL, noise_scales=scales)
