"""Mode weights of data without a density: exact masses, their errors, and the sentence that names the mode."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.evaluation.clusters import Clusters, find_clusters
from ebm_cli.evaluation.context import Context
from ebm_cli.evaluation.mode_weights import Shares, _round, compare_shares, results
from tests.evaluation.toys import Bumps, FunctionEnergy, Rows, small_context
from tests.support import normal

N = 500


def data(dim: int, left: int = 450) -> Rows:
    """N rows in two modes at −5 and 5 of the first column, sd 1; `left` of them in the left one."""
    x = normal(N, dim, seed=0)
    x[:, 0] += torch.where(torch.arange(N) < left, -5.0, 5.0)
    return Rows(x[torch.randperm(N, generator=torch.Generator().manual_seed(0))].float())


def context(rows: Rows, weight: float, **changes: int) -> Context:
    """A model with both modes and this weight of the left one."""
    means = torch.zeros(2, rows.shape[0])
    means[:, 0] = torch.tensor([-5.0, 5.0])
    bumps = Bumps(means, 1.0, torch.tensor([weight, 1 - weight]))

    def energy(u: Tensor) -> Tensor:
        return bumps(rows.standardizer.inverse(u))

    sizes = {"n_samples": N, "n_chains": 400, "n_temperatures": 100}
    return small_context(FunctionEnergy(rows.shape[0], energy), rows, "density", **{**sizes, **changes})


@pytest.mark.parametrize("dim", [1, 2])
def test_masses_are_exact_on_a_grid(dim: int) -> None:
    found = results(context(data(dim), 0.983))
    assert found.values["eval/mode_tv"] == pytest.approx(0.083, abs=2e-3)
    assert found.values["eval/mode_tv_se"] == pytest.approx(math.sqrt(0.9 * 0.1 / N), rel=1e-3)
    assert found.values["eval/mode_tv_null"] == pytest.approx(math.sqrt(2 / math.pi * 0.9 * 0.1 / N), rel=1e-3)
    (note,) = found.notes
    assert note.startswith("the model gives 0.98 to the mode at (-")
    assert note.endswith("the held-out rows 0.90 ± 0.01")


def test_right_weights_need_no_sentence() -> None:
    found = results(context(data(2), 0.9))
    assert found.values["eval/mode_tv"] == pytest.approx(0.0, abs=2e-3)
    assert found.notes == ()


@pytest.mark.parametrize("weight", [0.9, 0.6])
def test_masses_beyond_the_plane_are_those_of_annealed_points(weight: float) -> None:
    found = results(context(data(5), weight))
    error, null = found.values["eval/mode_tv_se"], found.values["eval/mode_tv_null"]
    assert isinstance(error, float)
    assert isinstance(null, float)
    assert math.sqrt(0.9 * 0.1 / N) < error < 0.06
    assert found.values["eval/mode_tv"] == pytest.approx(abs(0.9 - weight), abs=4 * error)
    assert null > math.sqrt(2 / math.pi * 0.9 * 0.1 / N)
    assert len(found.notes) == (weight == 0.6)


def test_a_note_names_the_columns_of_a_table() -> None:
    rows = data(2)
    rows.column_names = ("income", "age")
    (note,) = results(context(rows, 0.983)).notes
    assert "to the mode at (income = -" in note
    assert ", age = " in note


def test_one_mode_has_a_reason() -> None:
    found = results(context(Rows(normal(N, 2, seed=0).float()), 0.5))
    assert found.values == {}
    assert found.absent == {
        "eval/mode_tv": "the training rows have one mode: no group of them is apart from the others"
    }


def test_few_rows_and_images_have_a_reason() -> None:
    few = results(context(Rows(normal(40, 2, seed=0).float()), 0.5))
    assert "too few different training rows to find modes: 40, and" in few.absent["eval/mode_tv"]
    images = Rows(normal(60, 1, 2, 2, seed=0).float())
    found = results(small_context(FunctionEnergy(4), images, "density"))
    assert "classes" in found.absent["eval/mode_tv"]


def test_few_families_of_annealed_points_have_a_reason() -> None:
    found = results(context(data(3), 0.9, n_chains=20))
    assert "annealed chains carry the weight" in found.absent["eval/mode_tv"]


def clusters_at(*centres: float) -> Clusters:
    rng = np.random.default_rng(0)
    x = np.concatenate([centre + 0.01 * rng.normal(size=(100, 1)) for centre in centres])
    return find_clusters(x, rng)


def test_error_and_null_are_those_of_simulated_shares() -> None:
    """Shares of 200 held-out rows and of 300 points of a model with the same three weights."""
    rng, weights = np.random.default_rng(0), np.array([0.5, 0.3, 0.2])
    clusters, rows = clusters_at(-1.0, 0.0, 1.0), Rows(normal(300, 1, seed=0).float())
    truth = Shares(torch.from_numpy(weights), 200)
    null = compare_shares(rows, clusters, truth, Shares(truth.of, 300)).values["eval/mode_tv_null"]
    counts = [rng.multinomial(n, weights, size=20_000) / n for n in (200, 300)]
    assert null == pytest.approx(float(0.5 * np.abs(counts[0] - counts[1]).sum(1).mean()), rel=0.01)

    wrong = np.array([0.3, 0.25, 0.45])
    model = rng.multinomial(300, wrong, size=20_000) / 300
    far = compare_shares(rows, clusters, truth, Shares(torch.from_numpy(wrong), 300)).values["eval/mode_tv_se"]
    spread = float((0.5 * np.abs(counts[0] - model).sum(1)).std())
    assert far == pytest.approx(spread, rel=0.05)


@pytest.mark.parametrize(
    ("x", "unit", "text"),
    [
        (-5.013, 3.0, "-5.0"),
        (-0.04, 1.0, "0.0"),
        (0.123456, 0.03, "0.123"),
        (2_496_808.0, 2.6e5, "2500000"),
        (-4.932e-19, 3e-19, "-4.9e-19"),
        (7.2e-22, 1e-19, "0"),
        (1.23456e10, 1e8, "1.235e+10"),
        (3.0, 0.0, "3.0"),
    ],
)
def test_places_are_rounded_to_a_tenth_of_the_spread(x: float, unit: float, text: str) -> None:
    assert _round(x, unit) == text
