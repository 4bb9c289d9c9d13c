"""Trained models for notebooks: their numbers in data units."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import ebm_cli
from tests.support import TINY, no_pictures, normal

WORDS = (*TINY, "metrics=[score]", "steps=40", "optimizer.lr=0.01")


@pytest.fixture(scope="module")
def moons(tmp_path_factory: pytest.TempPathFactory) -> ebm_cli.Model:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path_factory.mktemp("moons"))
        no_pictures(patched)
        return ebm_cli.train("dataset=moons", *WORDS, "dtype=float64", quiet=True).model()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ebm_cli.Model:
    """A model of two columns, N(1000, 2²) and N(−50, 0.1²)."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path_factory.mktemp("table"))
        no_pictures(patched)
        rows = normal(400, 2).numpy() * [2.0, 0.1] + [1000.0, -50.0]
        pd.DataFrame(rows, columns=["mass", "charge"]).to_csv("rows.csv", index=False)
        words = ("dataset=file", "dataset.path=rows.csv", "energy=quadratic", "method=mle")
        return ebm_cli.train(*words, *WORDS[1:], quiet=True).model()


def test_log_prob_integrates_to_one(moons: ebm_cli.Model) -> None:
    side = np.linspace(-12, 12, 481)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    mass = np.exp(moons.log_prob(grid)).sum() * (side[1] - side[0]) ** 2
    assert mass == pytest.approx(1, abs=1e-4)
    assert (moons.log_z_se, moons.log_z_method) == (0, "grid")


def test_log_prob_is_minus_energy_minus_log_z(moons: ebm_cli.Model) -> None:
    x = normal(20, 2).numpy()
    np.testing.assert_allclose(moons.log_prob(x), -moons.energy(x) - moons.log_z, rtol=1e-12)


@pytest.mark.parametrize("which", ["moons", "table"])
def test_score_is_minus_the_slope_of_the_energy(which: str, request: pytest.FixtureRequest) -> None:
    """Central differences in data units, a thousandth of each column's scale wide."""
    model: ebm_cli.Model = request.getfixturevalue(which)
    model.loaded.to_dtype("float64")
    x = model.dataset.held_out(10).double()
    for j, scale in enumerate(model.standardizer.scale.tolist()):
        step = torch.zeros(2, dtype=torch.float64)
        step[j] = 1e-3 * scale
        slope = (model.energy(x + step) - model.energy(x - step)) / (2e-3 * scale)
        torch.testing.assert_close(model.score(x)[:, j], -slope, rtol=1e-4, atol=1e-5 / scale)


def test_samples_and_densities_are_in_the_units_of_the_file(table: ebm_cli.Model) -> None:
    """A quadratic energy fitted to Gaussian columns has their moments, and a known density at its centre."""
    x = table.sample(4000, "burn_in=200", "thin=1", sampler="mala", seed=3)
    assert x.shape == (4000, 2)
    assert np.abs((x.mean(0) - [1000, -50]) / [2, 0.1]).max() < 0.2
    assert np.abs(x.std(0) / [2, 0.1] - 1).max() < 0.2
    assert table.column_names == ("mass", "charge")
    peak = float(table.log_prob(table.standardizer.mean.double().numpy()[None])[0])
    assert peak == pytest.approx(-np.log(2 * np.pi * 2 * 0.1), abs=0.3)
    mass = table.log_z - float(table.standardizer.log_det)
    exact = table.network.log_z()
    assert exact is not None
    assert mass == pytest.approx(float(exact), abs=1e-4)


def test_tables_are_matched_by_names_of_columns(table: ebm_cli.Model) -> None:
    x = table.sample(20, "burn_in=2")
    frame = pd.DataFrame({"other": 0.0, "charge": x[:, 1], "mass": x[:, 0]})
    np.testing.assert_array_equal(table.energy(frame), table.energy(x.astype(np.float64)))
    with pytest.raises(ebm_cli.UserError, match="x lacks the column charge; the model has mass, charge"):
        table.energy(frame.drop(columns="charge"))


@pytest.mark.parametrize("kind", [np.float32, np.float64, torch.float32, torch.float64])
def test_the_same_kind_of_array_comes_back(moons: ebm_cli.Model, kind: type) -> None:
    rows = normal(3, 2)
    x = rows.to(kind) if isinstance(kind, torch.dtype) else rows.numpy().astype(kind)
    for found, shape in ((moons.energy(x), (3,)), (moons.score(x), (3, 2)), (moons.log_prob(x), (3,))):
        assert type(found) is type(x)
        assert (found.dtype, tuple(found.shape)) == (x.dtype, shape)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(2), r"x has the shape \(2,\); it must be \(n, 2\): n rows of 2 columns; a single point .* x\[None\]"),
        (np.zeros((4, 3)), r"x has the shape \(4, 3\); it must be \(n, 2\)"),
        (np.zeros((1, 4, 2)), r"x has the shape \(1, 4, 2\)"),
        (np.float64(1), r"x has the shape \(\)"),
        (np.array([["a", "b"]]), "x holds <U1, not numbers"),
        (torch.zeros(1, 2, dtype=torch.complex64), "x holds torch.complex64"),
    ],
)
def test_rows_of_another_kind_are_refused(moons: ebm_cli.Model, x: np.ndarray, message: str) -> None:
    with pytest.raises(ebm_cli.UserError, match=message):
        moons.energy(x)


def test_a_missing_number_gives_nan_for_its_row_alone(moons: ebm_cli.Model) -> None:
    found = moons.energy(np.array([[0.0, np.nan], [0.0, 0.0]]))
    assert np.isnan(found).tolist() == [True, False]


def test_samples_depend_on_their_seed_alone(moons: ebm_cli.Model) -> None:
    first, again, other = (moons.sample(7, "burn_in=3", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_more_samples_than_chains_need_no_multiple(moons: ebm_cli.Model) -> None:
    assert moons.sample(1003, "burn_in=0", "thin=1", sampler="langevin").shape == (1003, 2)


@pytest.mark.parametrize(
    ("words", "named", "message"),
    [
        ((), {"sampler": "hmcc"}, "sampler=hmcc: no such option; did you mean hmc?"),
        (("burn_in=-1",), {}, "burn_in must be >= 0, got -1"),
        (("sampler.step_sise=1",), {}, "sampler.step_sise: no such key in sampler; did you mean step_size?"),
        ((), {"seed": -1}, "seed"),
    ],
)
def test_mistakes_in_sampling_get_the_words_of_the_verb(
    moons: ebm_cli.Model, words: tuple[str, ...], named: dict[str, object], message: str
) -> None:
    with pytest.raises(ebm_cli.UserError, match=message.replace("?", r"\?")):
        moons.sample(5, *words, **named)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_the_number_of_samples_is_whole_and_positive(moons: ebm_cli.Model, n: int) -> None:
    with pytest.raises(ebm_cli.UserError, match="n must be a whole number >= 1"):
        moons.sample(n)


def test_a_mixture_of_models_has_the_mean_density(moons: ebm_cli.Model, tmp_path: Path) -> None:
    """One model twice is the model itself; its log Z is that of two."""
    both = ebm_cli.compose([moons, moons.path], "mixture")
    x = normal(10, 2).numpy()
    np.testing.assert_allclose(both.log_prob(x), moons.log_prob(x), atol=1e-5)
    assert both.log_z - moons.log_z == pytest.approx(np.log(2), abs=1e-5)
    assert both.sample(5, "burn_in=2").shape == (5, 2)
