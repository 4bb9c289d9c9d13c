"""The metric group `samples`: distances and their nulls, counted modes, and chains that diverged."""

import pytest
import torch

from ebm_cli.datasets import Gaussian, Mixture, Synthetic
from ebm_cli.energies.quadratic import Quadratic
from tests.evaluation.toys import DIVERGING, Rows, small_evaluation
from tests.support import normal

DISTANCES = ("mmd", "energy_distance", "sliced_wasserstein", "c2st")


def three_dimensional_modes() -> Synthetic:
    means = [[-4.0, 0.0, 0.0], [4.0, 0.0, 0.0]]
    return Synthetic(Mixture(means, [0.5, 0.5], [0.5, 0.5]), standardize=False)


def test_each_distance_has_a_null_and_a_p_value() -> None:
    found = small_evaluation(Quadratic((2,)), Synthetic(Gaussian(2)), "samples").results.values
    assert list(found) == [f"eval/{name}{part}" for name in DISTANCES for part in ("", "_null", "_p")]
    assert found["eval/sliced_wasserstein_p"] > 0.01


def test_samples_are_returned_in_data_units() -> None:
    data = Synthetic(Gaussian(2, [100.0, -50.0]))
    evaluation = small_evaluation(Quadratic((2,)), data, "samples")
    assert evaluation.samples is not None
    assert evaluation.samples.shape == (40, 2)
    assert (evaluation.samples - torch.tensor([100.0, -50.0])).abs().max() < 6
    assert small_evaluation(Quadratic((2,)), data, "density").samples is None


def test_modes_beyond_the_plane_are_counted() -> None:
    found = small_evaluation(Quadratic((3,)), three_dimensional_modes(), "samples", n_samples=100).results.values
    assert 0 <= found["eval/mode_tv_null"] < found["eval/mode_tv"] + 0.5
    assert list(found)[-2:] == ["eval/mode_tv", "eval/mode_tv_null"]


def test_modes_in_the_plane_are_summed_and_not_counted() -> None:
    data = Synthetic(Mixture([[-4.0, 0.0], [4.0, 0.0]], [0.5, 0.5], [0.5, 0.5]), standardize=False)
    summed = small_evaluation(Quadratic((2,), precision=0.1), data, "density", "samples", n_samples=100).results.values
    assert summed["eval/mode_tv"] == pytest.approx(0.0, abs=1e-3)
    assert "eval/mode_tv_null" not in summed
    counted = small_evaluation(Quadratic((2,), precision=0.1), data, "samples", n_samples=100).results.values
    assert "eval/mode_tv_null" in counted


def test_chains_that_diverged_have_a_reason() -> None:
    found = small_evaluation(Quadratic((2,)), Synthetic(Gaussian(2)), "samples", kernel=DIVERGING, init="noise").results
    assert found.values == {}
    assert found.absent == {"eval/mmd": "some chains diverged (non-finite values)"}


def test_too_few_rows_have_a_reason() -> None:
    data = Rows(normal(12, 2, seed=0).float())
    found = small_evaluation(Quadratic((2,)), data, "samples", init="noise").results
    assert found.absent == {"eval/mmd": "20 samples and 12 held-out rows are too few to compare: 10 and 20 are needed"}
