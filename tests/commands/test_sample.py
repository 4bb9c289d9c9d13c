"""`ebm sample` from end to end: a model rebuilt from its file alone, chains on it, compositions, and refusals."""

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import ebm_cli
from ebm_cli.cli.main import main
from ebm_cli.commands import sample
from ebm_cli.config.build import build
from ebm_cli.errors import UserError
from ebm_cli.evaluation.values import format_value
from ebm_cli.runs import checkpoint as checkpoints
from tests.support import TINY, Ebm, last, no_pictures

Array = np.ndarray[Any, Any]

MEAN, COV = [3.0, -20.0], [[4.0, 0.9], [0.9, 0.5]]
FEW = ("n_samples=40", "n_chains=8", "burn_in=3", "thin=2")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on rows of a file, with its own sampler; its best checkpoint is not its last."""
    folder = tmp_path_factory.mktemp("original")
    rows = np.random.default_rng(0).multivariate_normal(MEAN, COV, size=200)
    np.save(folder / "rows.npy", rows)
    words = ["dataset=file", f"dataset.path={folder / 'rows.npy'}", "energy=mlp", "method=sm", "steps=6", "ema=0.9"]
    words += ["sampler=langevin", "sampler.step_size=0.02", "optimizer.lr=0.05", "monitor=eval/nll", "eval_every=2"]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        no_pictures(patched)
        assert main(["train", *TINY, *words, "hydra.run.dir=run"]) == 0
    return folder / "run"


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


@pytest.fixture
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture: drawing it takes longer than the rest."""
    monkeypatch.setattr(sample, "samples_figure", lambda x, data, names=None: None)
    monkeypatch.setattr(sample, "save", lambda figure, path: None)


def drawn(folder: Path) -> tuple[Array, Array, dict[str, Any]]:
    """The samples x, their energy, and the results."""
    with np.load(folder / "samples.npz") as arrays:
        assert set(arrays) == {"x", "energy"}
        return arrays["x"], arrays["energy"], json.loads((folder / "results.json").read_text())


# --- output -----------------------------------------------------------------------------------------------------------


def test_sample_writes_samples_picture_and_diagnostics(ebm: Ebm, run: Path) -> None:
    """In RUN/sample/<time>: x in data units with its energy, a picture and diagnostics, by the sampler of the run."""
    ran = ebm("sample", "checkpoint=run", *FEW)
    assert (ran.code, ran.err) == (0, "")
    [folder] = (run / "sample").iterdir()
    assert {"samples.npz", "samples.png", "results.json"} <= {path.name for path in folder.iterdir()}
    assert (folder / "samples.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    x, energy, results = drawn(folder)
    assert (x.shape, energy.shape) == ((40, 2), (40,))
    model = ebm_cli.load(run)
    with torch.no_grad():
        again = model.network(model.standardizer(torch.from_numpy(x)))
    assert torch.allclose(again, torch.from_numpy(energy), atol=1e-5)
    assert set(results) == {
        "sampler/init", "sampler/step_size", "sampler/rhat", "sampler/ess_bulk", "sampler/ess_tail",
        "sampler/never_moved", "sampler/n_chains", "sampler/non_finite", "sampler/n_draws", "sampler/n_steps",
        "sampler/separation", "sampler/virial", "sampler/virial_exact", "sampler/coordinates",
        "cost/seconds", "cost/peak_memory_mb",
    }  # fmt: skip
    assert results["sampler/step_size"] == 0.02
    assert "40 samples by Langevin from 8 chains" in ran.out


@pytest.mark.usefixtures("run", "_no_picture")
def test_samples_are_summarised_by_coordinate(ebm: Ebm, tmp_path: Path) -> None:
    """Mean, sd and quantiles are those of the file; the table on the console has the same numbers."""
    ran = ebm("sample", "checkpoint=run", *FEW, "hydra.run.dir=out")
    x, _, results = drawn(tmp_path / "out")
    rows: list[dict[str, Any]] = results["sampler/coordinates"]
    assert [row["name"] for row in rows] == ["x0", "x1"]
    for row, column in zip(rows, x.T.astype(np.float64), strict=True):
        assert row["mean"] == pytest.approx(column.mean())
        assert row["sd"] == pytest.approx(column.std(ddof=1))
        assert row["q5"] <= row["q50"] <= row["q95"]
        assert set(row) == {"name", "mean", "sd", "q5", "q50", "q95", "mcse_mean", "rhat", "ess_bulk", "ess_tail"}
        assert format_value(row["mean"]) in ran.out


@pytest.mark.usefixtures("run", "_no_picture")
def test_strict_ends_with_exit_code_4_if_chains_have_not_mixed(ebm: Ebm) -> None:
    words = ["checkpoint=run", "init=noise", "sampler.step_size=1e-6", *FEW]
    assert ebm("sample", *words).code == 0
    ran = ebm("sample", *words, "strict=true")
    assert (ran.code, len(ran.err.splitlines())) == (4, 1)
    assert "not mixed (< 1.01), and strict=true." in ran.err
    assert "sampler/ess" not in ran.err
    ran = ebm("sample", "checkpoint=run", "n_samples=20", "burn_in=5", "strict=true")
    assert (ran.code, len(ran.err.splitlines())) == (4, 1)
    assert "sampler/rhat is not known (too few draws a chain: 1, and 4 are needed), and strict=true." in ran.err
    assert ran.err.endswith("strict=true. n_chains=5 or n_samples=4000 gives each chain enough.\n")


@pytest.mark.usefixtures("run", "_no_picture")
@pytest.mark.slow
def test_n_chains_defaults_to_at_most_a_thousand(ebm: Ebm, tmp_path: Path) -> None:
    """One chain for each sample, up to a thousand."""
    ran = ebm("sample", "checkpoint=run", "n_samples=30", "burn_in=1", "thin=1", "hydra.run.dir=few")
    assert (ran.code, len(drawn(tmp_path / "few")[0])) == (0, 30)
    assert "30 samples by Langevin from 30 chains" in ran.out
    ran = ebm("sample", "checkpoint=run", "n_samples=2000", "burn_in=1", "thin=1", "hydra.run.dir=many")
    assert "2,000 samples by Langevin from 1,000 chains" in ran.out


@pytest.mark.slow
@pytest.mark.usefixtures("_no_picture")
def test_bent_density_gives_starts_without_the_data(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains of a table's default energy start at its reference and jump by it; at noise they do neither."""
    no_pictures(monkeypatch)
    rows = np.random.default_rng(0).normal(size=(200, 2)) + 20 * (np.arange(200) % 2)[:, None]
    np.save(tmp_path / "rows.npy", rows)
    assert ebm("train", *TINY, "dataset=file", "dataset.path=rows.npy", "steps=3", "hydra.run.dir=run").code == 0
    (tmp_path / "rows.npy").unlink()
    words = ("checkpoint=run", "n_samples=200", "n_chains=100", "burn_in=5", "thin=2", "sampler.step_size=0.001")
    assert ebm("sample", *words, "hydra.run.dir=a").code == 0
    x, _, results = drawn(tmp_path / "a")
    assert (results["sampler/init"], "sampler/jumps" in results) == ("annealed", True)
    assert results["sampler/jumps"] > 0.9
    assert 0.3 < float((x[:, 0] > 10).mean()) < 0.7
    assert ebm("sample", *words, "init=noise", "hydra.run.dir=b").code == 0
    assert "sampler/jumps" not in drawn(tmp_path / "b")[2]


def test_sample_needs_only_the_checkpoint_file(ebm: Ebm, run: Path, tmp_path: Path, original: Path) -> None:
    """A checkpoint copied to another folder gives the same samples after the run and its data are deleted.

    Annealed starts alone need the data.
    """
    noise = (*FEW, "init=noise")
    assert ebm("sample", "checkpoint=run", *noise, "which=last", "hydra.run.dir=a").code == 0
    (tmp_path / "alone").mkdir()
    state = last(run)
    state["config"]["dataset"]["path"] = str(tmp_path / "gone.npy")
    checkpoints.save(tmp_path / "alone" / "model.pt", state)
    shutil.rmtree(run)
    for number, words in enumerate((noise, FEW), start=1):
        ran = ebm("sample", "checkpoint=alone/model.pt", *words)
        assert (ran.code, ran.err) == (0, "")
        assert ("Chains start at noise, since the data of the run are not available" in ran.out) == (words is FEW)
        folder = sorted((tmp_path / "alone" / "sample").iterdir())[-1]
        assert len(list(folder.parent.iterdir())) == number
        for a, b in zip(drawn(tmp_path / "a")[:2], drawn(folder)[:2], strict=True):
            assert np.array_equal(a, b)
    ran = ebm("sample", "checkpoint=alone/model.pt", *FEW, "init=data", "hydra.run.dir=b")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert "dataset.path" in ran.err
    assert not (tmp_path / "b").exists()


@pytest.mark.usefixtures("_no_picture")
def test_keys_of_the_stored_sampler_can_be_overridden(ebm: Ebm, run: Path, tmp_path: Path) -> None:
    """sampler.noise_scale=0 makes gradient descent with the step size of the run, for a run and for a lone file."""
    (tmp_path / "lone").mkdir()
    shutil.copy(run / "checkpoints" / "last.pt", tmp_path / "lone" / "model.pt")
    words = ["n_samples=8", "n_chains=8", "burn_in=0", "thin=1", "init=start.npy", "sampler.noise_scale=0"]
    starts = np.random.default_rng(1).multivariate_normal(MEAN, COV, size=8)
    np.save(tmp_path / "start.npy", starts)
    model = ebm_cli.load(run)
    u = model.standardizer(torch.from_numpy(starts).float()).requires_grad_()
    (grad,) = torch.autograd.grad(model.network(u).sum(), u)
    expected = model.standardizer.inverse(u - 0.02 * grad).detach().numpy()
    for path in ("run", "lone/model.pt"):
        ran = ebm("sample", f"checkpoint={path}", *words, f"hydra.run.dir=out/{path}")
        assert (ran.code, ran.err) == (0, "")
        assert np.allclose(drawn(tmp_path / "out" / path)[0], expected, atol=1e-5)


@pytest.mark.usefixtures("_no_picture")
def test_which_and_weights_choose_the_model(ebm: Ebm, run: Path, tmp_path: Path) -> None:
    """The chains hardly move, so the energies at their starts identify the model."""
    np.save(tmp_path / "start.npy", np.random.default_rng(1).multivariate_normal(MEAN, COV, size=8))
    words = ["n_samples=8", "n_chains=8", "burn_in=0", "thin=1", "init=start.npy", "sampler=langevin"]
    words += ["sampler.step_size=1e-10"]
    state = last(run)
    state["energy"] = {name: 1.5 * value for name, value in state["energy"].items()}
    checkpoints.save(run / "checkpoints" / "last.pt", state)
    found = {}
    for which, weights in (("best", "ema"), ("last", "raw")):
        ran = ebm("sample", "checkpoint=run", *words, f"which={which}", f"weights={weights}", f"hydra.run.dir={which}")
        assert ran.code == 0
        x, found[which], _ = drawn(tmp_path / which)
        model = ebm_cli.load(run, which=which, weights=weights)  # type: ignore[arg-type]
        with torch.no_grad():
            energy = model.network(model.standardizer(torch.from_numpy(x)))
        assert np.allclose(energy.numpy(), found[which], atol=1e-5)
    assert not np.allclose(found["best"], found["last"], atol=1e-3)


@pytest.mark.usefixtures("_no_picture")
@pytest.mark.parametrize("sampler", ["mala", "hmc", "metropolis", "underdamped", "tempering"])
def test_another_sampler_can_be_chosen(ebm: Ebm, run: Path, tmp_path: Path, sampler: str) -> None:
    adapted = sampler != "underdamped"
    words = [f"sampler={sampler}", f"adapt={str(adapted).lower()}", "init=data", "burn_in=20", "dtype=float64"]
    ran = ebm("sample", "checkpoint=run", *FEW, *words, "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    x, energy, results = drawn(tmp_path / "out")
    assert (x.shape, x.dtype, energy.dtype) == ((40, 2), np.float64, np.float64)
    stored = OmegaConf.load(tmp_path / "out" / ".hydra" / "config.yaml").sampler.step_size
    assert (results["sampler/step_size"] != stored) == adapted


@pytest.mark.usefixtures("_no_picture")
def test_seed_fixes_the_samples(ebm: Ebm, run: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert ebm("sample", "checkpoint=run", *FEW, f"seed={seed}", f"hydra.run.dir={name}").code == 0
    a, b, c = (drawn(tmp_path / name)[0] for name in "abc")
    assert np.array_equal(a, b)
    assert not np.isclose(a, c).any()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def gaussian(original: Path, tmp_path: Path) -> Path:
    """A handmade checkpoint: the quadratic energy whose samples, in data units, are N(MEAN, COV)."""
    state = last(original)
    mean, scale = torch.tensor([1.0, -15.0]), torch.tensor([3.0, 0.2])
    precision = torch.linalg.inv(torch.tensor(COV) / torch.outer(scale, scale))
    state["config"]["energy"] = {"_target_": "ebm_cli.energies.Quadratic", "precision": 1.0}
    state["energy"] = {"mean": (torch.tensor(MEAN) - mean) / scale, "raw_precision": precision}
    state["ema"] = {"count": 1, "mean": {f"energy.{name}": value for name, value in state["energy"].items()}}
    state["dataset"]["standardizer"] = {"mean": mean, "scale": scale}
    checkpoints.save(tmp_path / "gaussian.pt", state)
    return tmp_path / "gaussian.pt"


def standard_errors(x: Array, mean: Any = MEAN, covariance: Any = COV) -> Array:
    """Distance of the mean and covariance of independent rows from those of a Gaussian, in standard errors."""
    n, cov = len(x), np.array(covariance)
    off = (x.mean(0) - mean) / np.sqrt(np.diag(cov) / n)
    centred = x - np.array(mean)
    spread = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / n)
    return np.abs(np.concatenate([off, ((centred.T @ centred / n - cov) / spread).flatten()]))


@pytest.mark.usefixtures("_no_picture")
def test_samples_have_the_moments_of_the_energy(ebm: Ebm, gaussian: Path, tmp_path: Path) -> None:
    """In data units; one sample from each chain gives independent rows. The control is a sampler with less noise."""
    words = ["n_samples=4000", "n_chains=4000", "burn_in=150", "thin=1", "sampler=hmc", "sampler.step_size=0.05"]
    ran = ebm("sample", "checkpoint=gaussian.pt", *words, "adapt=true", "hydra.run.dir=a")
    assert (ran.code, ran.err) == (0, "")
    assert standard_errors(drawn(tmp_path / "a")[0]).max() < 5
    words = ["n_samples=4000", "n_chains=4000", "burn_in=400", "thin=1", "sampler=langevin", "sampler.noise_scale=0.9"]
    assert ebm("sample", "checkpoint=gaussian.pt", *words, "sampler.step_size=0.1", "hydra.run.dir=b").code == 0
    assert standard_errors(drawn(tmp_path / "b")[0]).max() > 5


# --- starts of the chains ---------------------------------------------------------------------------------------------


@pytest.fixture
def unequal(original: Path, tmp_path: Path) -> Path:
    """Rows of which 0.9 lie at -5 and 0.1 at 5, and a model with 0.983 at -5."""
    left = np.arange(500) < 450
    rows = np.random.default_rng(2).normal(size=(500, 2)) + np.where(left[:, None], [-5.0, 0.0], [5.0, 0.0])
    np.save(tmp_path / "rows.npy", rows)
    state = last(original)
    state["config"]["dataset"] |= {"path": str(tmp_path / "rows.npy"), "standardize": False}
    del state["dataset"]["fingerprint"]
    modes = {"_target_": "ebm_cli.energies.Mixture", "means": [[-5.0, 0.0], [5.0, 0.0]], "std": 1.0}
    state["config"]["energy"] = modes | {"weights": [0.5, 0.5]}
    state["energy"] = {"logits": torch.tensor([0.983, 0.017]).log()}
    state["ema"] = {"count": 1, "mean": {"energy.logits": state["energy"]["logits"]}}
    state["dataset"]["standardizer"] = {"mean": torch.zeros(2), "scale": torch.ones(2)}
    checkpoints.save(tmp_path / "unequal.pt", state)
    return tmp_path / "unequal.pt"


@pytest.mark.usefixtures("_no_picture", "unequal")
def test_chains_start_in_each_mode_with_its_mass(ebm: Ebm, tmp_path: Path) -> None:
    """The default draws have the model's mass in each mode; the control starts at noise."""
    words = ["checkpoint=unequal.pt", "n_samples=2000", "n_chains=2000", "burn_in=20", "thin=1", "sampler=mala"]
    for name, more in (("a", []), ("b", ["init=noise"])):
        assert ebm("sample", *words, *more, f"hydra.run.dir={name}").code == 0
    (a, _, annealed), (b, _, noise) = (drawn(tmp_path / name) for name in "ab")
    se = (0.983 * 0.017 / 2000) ** 0.5
    assert abs((a[:, 0] < 0).mean() - 0.983) < 5 * se
    assert (b[:, 0] < 0).mean() < 0.9
    assert (annealed["sampler/init"], noise["sampler/init"]) == ("annealed", "noise")


@pytest.mark.usefixtures("_no_picture", "unequal")
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["checkpoint=[unequal.pt,unequal.pt]"], "a composition of runs has no data that annealing could start from"),
        (["checkpoint=unequal.pt", "anneal=5", "sampler=mala"], "anneal=5 heats them during burn-in"),
    ],
)
def test_default_start_is_noise_with_a_reason(ebm: Ebm, words: list[str], reason: str) -> None:
    ran = ebm("sample", *words, *FEW, "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    assert f"Chains start at noise, since {reason}" in " ".join(ran.out.replace("│", " ").split())


@pytest.mark.usefixtures("gaussian")
def test_samples_that_are_not_finite_are_in_no_whole_file(ebm: Ebm, tmp_path: Path) -> None:
    """Exit code 4 after everything is written; the partial file has the finite samples and counts the others."""
    words = ["checkpoint=gaussian.pt", "sampler=langevin", "sampler.step_size=1e15", "n_samples=24", "n_chains=8"]
    ran = ebm("sample", *words, "burn_in=0", "thin=1", "hydra.run.dir=out")
    assert ran.code == 4
    assert "8 of 24 draws are not finite: the chains diverged. Lower sampler.step_size" in ran.err
    assert "16 of 24 samples or their energies are not finite: samples.partial.npz, in place of" in ran.err
    assert "holds the other 8, which are no sample of the model" in ran.err
    assert len(ran.err.splitlines()) == 1
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {".hydra", "samples.partial.npz", "results.json", "sample.log"}
    with np.load(tmp_path / "out" / "samples.partial.npz") as arrays:
        assert np.isfinite(arrays["x"]).all()
        assert (arrays["x"].shape, arrays["sample"].tolist(), arrays["n_not_finite"]) == ((8, 2), [*range(8)], 16)
    assert json.loads((tmp_path / "out" / "results.json").read_text())["sampler/non_finite"] == 8


# --- annealing --------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_modes(original: Path, tmp_path: Path) -> Path:
    """Two modes of equal weight, 16 standard deviations apart; the chains start at the first."""
    state = last(original)
    modes = {"_target_": "ebm_cli.energies.Mixture", "means": [[-4.0, 0.0], [4.0, 0.0]], "std": 0.5}
    state["config"]["energy"] = modes | {"weights": [0.5, 0.5]}
    state["energy"] = {"logits": torch.zeros(2)}
    state["ema"] = {"count": 1, "mean": {"energy.logits": torch.zeros(2)}}
    state["dataset"]["standardizer"] = {"mean": torch.zeros(2), "scale": torch.ones(2)}
    checkpoints.save(tmp_path / "modes.pt", state)
    np.save(tmp_path / "left.npy", np.array([[-4.0, 0.0]]))
    return tmp_path / "modes.pt"


@pytest.mark.usefixtures("_no_picture")
@pytest.mark.parametrize("adapted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_annealed_chains_find_the_other_mode(ebm: Ebm, two_modes: Path, tmp_path: Path, adapted: bool) -> None:
    """At the first temperature chains move freely, so that half of them end in either mode by symmetry.

    The control: without annealing no chain leaves the mode in which it started.
    """
    words = ["checkpoint=modes.pt", "init=left.npy", "n_samples=2000", "n_chains=2000", "burn_in=400", "thin=1"]
    words += ["sampler=mala", "sampler.step_size=0.1", f"adapt={str(adapted).lower()}"]
    for name, more in (("a", ["anneal=64"]), ("b", [])):
        ran = ebm("sample", *words, *more, f"hydra.run.dir={name}")
        assert (ran.code, ran.err) == (0, "")
    x, _, results = drawn(tmp_path / "a")
    right = x[:, 0] > 0
    assert abs(right.mean() - 0.5) < 5 * 0.5 / 2000**0.5
    within = (np.abs(x) - [4.0, 0.0]) / 0.5
    assert abs(within[:, 0].mean()) < 5 / 2000**0.5  # at the final temperature each mode has its own mean and width
    assert abs(within[:, 0].var() - 1) < 5 * (2 / 2000) ** 0.5
    if adapted:
        assert abs(results["sampler/acceptance"] - 0.574) < 0.05
    assert not (drawn(tmp_path / "b")[0][:, 0] > 0).any()


# --- compositions -----------------------------------------------------------------------------------------------------

OTHER_MEAN, OTHER_COV = [1.0, -19.0], [[1.0, -0.3], [-0.3, 0.4]]


@pytest.fixture
def other(gaussian: Path, tmp_path: Path) -> Path:
    """A second Gaussian, in other standardised units."""
    state = checkpoints.read(gaussian)
    mean, scale = torch.tensor([0.0, -10.0]), torch.tensor([0.5, 2.0])
    state["dataset"]["standardizer"] = {"mean": mean, "scale": scale}
    precision = torch.linalg.inv(torch.tensor(OTHER_COV) / torch.outer(scale, scale))
    state["energy"] = {"mean": (torch.tensor(OTHER_MEAN) - mean) / scale, "raw_precision": precision}
    state["ema"]["mean"] = {f"energy.{name}": value for name, value in state["energy"].items()}
    checkpoints.save(tmp_path / "other.pt", state)
    return tmp_path / "other.pt"


HMC = (
    "n_samples=4000",
    "n_chains=4000",
    "burn_in=150",
    "thin=1",
    "sampler=hmc",
    "sampler.step_size=0.05",
    "adapt=true",
)


@pytest.mark.usefixtures("_no_picture", "other")
@pytest.mark.slow
def test_product_of_two_runs_adds_their_precisions(ebm: Ebm, tmp_path: Path) -> None:
    """p² q of two Gaussians in data units: precisions add up, with weights, although the units of the runs differ."""
    words = ["checkpoint=[gaussian.pt,other.pt]", "compose.weights=[2,1]"]
    ran = ebm("sample", *words, *HMC)
    assert (ran.code, ran.err) == (0, "")
    assert "2 runs together" in ran.out
    [folder] = (tmp_path / "outputs" / "sample").iterdir()
    p, q = np.linalg.inv(COV), np.linalg.inv(OTHER_COV)
    cov = np.linalg.inv(2 * p + q)
    mean = cov @ (2 * p @ MEAN + q @ OTHER_MEAN)
    x = drawn(folder)[0]
    assert standard_errors(x, mean, cov).max() < 5
    for wrong in (np.linalg.inv(p + q), np.linalg.inv(2 * p)):
        assert standard_errors(x, mean, wrong).max() > 5


@pytest.mark.usefixtures("_no_picture", "other")
@pytest.mark.slow
def test_mixture_of_two_runs_has_shares_of_w_times_z(ebm: Ebm, tmp_path: Path) -> None:
    """Shares are in proportion to w Z, with Z = 2π √det of each member in the standardised units of its own run."""
    words = ["checkpoint=[other.pt,gaussian.pt]", "compose={kind:mixture,weights:[12,1]}", "sampler.n_leapfrog=5"]
    ran = ebm("sample", *words, *HMC, "hydra.run.dir=out", "burn_in=400")
    assert (ran.code, ran.err) == (0, "")
    z = np.array([12 * np.linalg.det(OTHER_COV) ** 0.5 / (0.5 * 2.0), np.linalg.det(COV) ** 0.5 / (3.0 * 0.2)])
    share = z / z.sum()
    x = drawn(tmp_path / "out")[0]
    mean = share @ np.array([OTHER_MEAN, MEAN])
    assert (np.abs(x.mean(0) - mean) < 5 * x.std(0) / len(x) ** 0.5).all()
    assert not (np.abs(x.mean(0) - np.mean([OTHER_MEAN, MEAN], axis=0)) < 5 * x.std(0) / len(x) ** 0.5).all()


# --- refusals ---------------------------------------------------------------------------------------------------------


def refused(ebm: Ebm, tmp_path: Path, *words: str) -> str:
    """The one line with which `ebm sample WORDS` refuses; no file changes."""
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    ran = ebm("sample", *words)
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 1, ran.err
    assert "Traceback" not in ran.err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    return ran.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["checkpoint=nowhere"], "checkpoint=nowhere: no such file or directory"),
        (["checkpoint=empty"], "checkpoint=empty: no checkpoints/last.pt in it; it has no checkpoints; is it a run"),
        (["checkpoint=text.pt"], "checkpoint=text.pt: not a checkpoint, or a truncated one"),
        (
            ["checkpoint=run", "n_samples=41", "n_chains=8"],
            "n_samples must be a multiple of n_chains = 8, got 41; set n_samples=48",
        ),
        (
            ["checkpoint=run", "adapt=true"],
            "adapt=true: Langevin has no acceptance rate to adapt the step size to; set adapt=false, or sampler=mala\n",
        ),
        (
            ["checkpoint=run", "adapt=true", "sampler=tempering", "sampler.kernel=mclmc"],
            "adapt=true: MCLMC has no acceptance rate to adapt the step size to; set adapt=false, or "
            "sampler.kernel=mala\n",
        ),
        (
            ["checkpoint=run", "adapt=true", "sampler=underdamped"],
            "adapt=true: Underdamped has no acceptance rate to adapt the step size to; set adapt=false, or "
            "sampler=mala, or sampler.energy_error=1e-4, or sampler.test_every=5\n",
        ),
        (
            ["checkpoint=run", "adapt=true", "sampler=tempering", "sampler.kernel=underdamped"],
            "set adapt=false, or sampler.kernel=mala, or sampler.kernel.test_every=5\n",
        ),
        (
            ["checkpoint=run", "init=here.npy"],
            "init=here.npy: must be annealed, noise, data, or a file of rows that exists",
        ),
        (["checkpoint=run", "init=text.pt"], "init=text.pt: is damaged"),
        (
            ["checkpoint=run", "init=wide.npy"],
            "init=wide.npy: must have rows of shape (2,), got an array of shape (4, 3)",
        ),
        (["checkpoint=run", "init=nan.npy"], "init=nan.npy: row 2 holds a number that is not finite"),
        (["checkpoint=run", "sampler.step_size=-1"], "sampler.step_size must be > 0, got -1"),
        (["checkpoint=run", "sampler.lenght=1"], "sampler.lenght: no such key in sampler"),
        (["checkpoint=[run]"], "checkpoint=['run']: a composition needs two or more checkpoints"),
        (["checkpoint=[run,nowhere]"], "checkpoint=nowhere: no such file or directory"),
        (["checkpoint=[run,empty]"], "checkpoint: empty: no checkpoints/last.pt in it"),
        (
            ["checkpoint=run", "compose.weights=[1,2]"],
            "compose: needs checkpoint=[A,B], two or more, got checkpoint=run",
        ),
        (
            ["checkpoint=[run,run]", "compose.weights=[1]"],
            "compose.weights must be 2 numbers, one a checkpoint, got [1]",
        ),
        (
            ["checkpoint=[run,run]", "compose={kind:mixture,weights:[1,-1]}"],
            "compose.weights must be 2 numbers > 0, one a checkpoint, got [1, -1]",
        ),
        (["checkpoint=[run,run]", "compose.kind=both"], "compose.kind must be one of product, mixture, got 'both'"),
    ],
)
def test_wrong_words_are_refused_in_one_line(ebm: Ebm, run: Path, tmp_path: Path, words: list[str], line: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pt").write_text("not a checkpoint at all\n")
    np.save(tmp_path / "wide.npy", np.zeros((4, 3)))
    np.save(tmp_path / "nan.npy", np.array([[0.0, 1.0], [2.0, 3.0], [4.0, math.nan]]))
    assert line in refused(ebm, tmp_path, *words)


def test_damaged_checkpoint_is_refused(ebm: Ebm, run: Path, tmp_path: Path) -> None:
    whole = (run / "checkpoints" / "last.pt").read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "x.pt").write_bytes(whole[:length])
        assert "x.pt: not a checkpoint, or a truncated one" in refused(ebm, tmp_path, "checkpoint=x.pt")
    (tmp_path / "x.pt").write_bytes(whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:])
    assert "x.pt: " in refused(ebm, tmp_path, "checkpoint=x.pt")
    torch.save(torch.load(run / "checkpoints" / "last.pt", weights_only=True) | {"format": 99}, tmp_path / "x.pt")
    assert "written by a later version (format 99)" in refused(ebm, tmp_path, "checkpoint=x.pt")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "x.pt")
    assert "not a checkpoint of ebm" in refused(ebm, tmp_path, "checkpoint=x.pt")


UNTRUSTED = [
    "os.system",
    "logging.os.system",
    "subprocess.Popen",
    "builtins.eval",
    "ebm_cli.cli.hydra_app.os.system",
    "mine.Bowl",
]


def rebuild(file: Path, where: str) -> Any:
    """Build the part of a stored config that a verb builds."""
    return build(ebm_cli.load(file).config[where], where)


@pytest.mark.parametrize("target", UNTRUSTED)
@pytest.mark.parametrize("where", ["energy", "sampler", "dataset"])
def test_stored_config_may_not_name_untrusted_objects(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, where: str
) -> None:
    """An untrusted module is not even imported."""
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    state = last(run)
    state["config"][where] = {"_target_": target}
    checkpoints.save(tmp_path / "x.pt", state)
    with pytest.raises(UserError, match=rf"{where}\._target_={target}: "):
        rebuild(tmp_path / "x.pt", where)
    assert "mine" not in sys.modules


@pytest.mark.parametrize(("where", "target"), [("energy", "os.system"), ("sampler", "mine.Bowl")])
def test_sample_refuses_untrusted_objects_in_one_line(
    ebm: Ebm, run: Path, tmp_path: Path, target: str, where: str
) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')\n")
    state = last(run)
    state["config"][where] = {"_target_": target}
    checkpoints.save(tmp_path / "x.pt", state)
    assert f"{where}._target_={target}: a stored config may name only" in refused(ebm, tmp_path, "checkpoint=x.pt")
    assert "mine" not in sys.modules


@pytest.mark.usefixtures("_no_picture")
def test_trusted_package_may_be_named(ebm: Ebm, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_bowls.py").write_text(
        "from ebm_cli.energies import Quadratic\n\n\nclass Bowl(Quadratic):\n    pass\n"
    )
    monkeypatch.setitem(sys.modules, "my_bowls", None)
    monkeypatch.delitem(sys.modules, "my_bowls")
    state = last(run, "best.pt")
    state["config"]["energy"] = {"_target_": "my_bowls.Bowl"}
    state["energy"] = {"mean": torch.zeros(2), "raw_precision": torch.eye(2)}
    state["ema"] = {"count": 1, "mean": {f"energy.{name}": value for name, value in state["energy"].items()}}
    checkpoints.save(tmp_path / "x.pt", state)
    assert "add 'trust=[my_bowls]'" in refused(ebm, tmp_path, "checkpoint=x.pt")
    assert "my_bowls" not in sys.modules
    ran = ebm("sample", "checkpoint=x.pt", *FEW, "trust=[my_bowls]", "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    x, energy, _ = drawn(tmp_path / "out")
    model = ebm_cli.load(tmp_path / "x.pt", trust=["my_bowls"])
    u = model.standardizer(torch.from_numpy(x))
    assert np.allclose(energy, 0.5 * u.square().sum(1).numpy(), atol=1e-4)


def test_tensors_of_another_config_are_refused(ebm: Ebm, run: Path, tmp_path: Path) -> None:
    state = last(run, "best.pt")
    state["config"]["energy"]["width"] = 9
    checkpoints.save(tmp_path / "x.pt", state)
    assert "its tensors do not fit its config" in refused(ebm, tmp_path, "checkpoint=x.pt")
    state = last(run, "best.pt")
    state["ema"]["mean"].popitem()
    checkpoints.save(tmp_path / "x.pt", state)
    assert "its tensors do not fit its config" in refused(ebm, tmp_path, "checkpoint=x.pt")


# --- without a checkpoint ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_no_picture")
def test_energy_is_sampled_without_a_checkpoint(ebm: Ebm, tmp_path: Path) -> None:
    """The moments of a Gaussian, in the energy's own units; control: those of another width."""
    np.save(tmp_path / "start.npy", np.random.default_rng(0).normal(size=(1000, 3)) / 2)
    words = ["energy=quadratic", "energy.precision=4", "shape=[3]", "init=start.npy", "n_samples=1000"]
    ran = ebm("sample", *words, "burn_in=30", "thin=1")
    assert (ran.code, ran.err) == (0, "")
    assert "1,000 samples by MALA from 1,000 chains (an energy without training)" in ran.out
    [folder] = (tmp_path / "outputs" / "sample").iterdir()
    x = drawn(folder)[0]
    assert standard_errors(x, [0.0] * 3, np.eye(3) / 4).max() < 5
    assert standard_errors(x, [0.0] * 3, np.eye(3) / 3).max() > 5


@pytest.mark.usefixtures("_no_picture")
def test_class_of_the_user_is_sampled_without_a_checkpoint(ebm: Ebm, tmp_path: Path) -> None:
    (tmp_path / "my_valley.py").write_text(
        "class Valley:\n    shape = (2,)\n\n    def __init__(self, width: float = 1.0):\n        self.width = width\n\n"
        "    def __call__(self, x):\n        return (x.square().sum(1) / (2 * self.width**2))\n"
    )
    ran = ebm("sample", "energy._target_=my_valley.Valley", "energy.width=0.5", *FEW, "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    x, energy, results = drawn(tmp_path / "out")
    assert np.allclose(energy, 2 * (x**2).sum(1), rtol=1e-5)
    assert results["sampler/init"] == "noise"
    assert "Chains start at noise, since an energy without a run has no data" in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "checkpoint is required, or energy=OPTION for an energy without training"),
        (
            ["energy=banana"],
            "it is a data set, whose density is energy._target_=ebm_cli.datasets.Banana",
        ),
        (["energy=quadratic", "checkpoint=run"], "energy and checkpoint exclude each other"),
        (["checkpoint=run", "shape=[2]"], "shape=[2]: a run has its own"),
        (["energy=quadratic"], "shape is required: Quadratic is defined for points of any shape; add shape=[2], say"),
        (["energy=quadratic", "shape=[0]"], "shape must be whole numbers >= 1, such as [2], got [0]"),
        (["energy=quadratic", "shape=[1]", "sampler=mclmc"], "sampler: mclmc needs points of at least two dimensions"),
        (
            ["energy=quadratic", "shape=[1]", "sampler=tempering", "sampler.kernel=mclmc"],
            "sampler: mclmc needs points of at least two dimensions: take mala, hmc or nuts",
        ),
        (["energy=tilted", "shape=[2]"], "is fitted to the rows of a data set"),
        (["energy=mixture", "init=data"], "init=data: an energy without a run has no data"),
        (["energy=mixture", "compose.kind=mixture"], "compose: needs checkpoint=[A,B], two or more"),
    ],
)
def test_wrong_words_for_an_energy_are_refused(
    ebm: Ebm, run: Path, tmp_path: Path, words: list[str], line: str
) -> None:
    assert line in refused(ebm, tmp_path, *words)


@pytest.mark.slow
def test_step_size_of_an_energy_with_a_reference_is_adapted(ebm: Ebm, tmp_path: Path) -> None:
    """Its run was trained without chains, so that the step size in its config fits nothing."""
    words = [*TINY, "dataset=iris", "method=nce", "steps=20", "metrics=[density]", "sampler.step_size=3"]
    assert ebm("train", *words, "hydra.run.dir=run").code == 0
    for adapted, accepted in (("auto", True), ("false", False)):
        ran = ebm(
            "sample",
            "checkpoint=run",
            "n_samples=200",
            "burn_in=300",
            f"adapt={adapted}",
            f"hydra.run.dir=with-{adapted}",
        )
        acceptance = json.loads((tmp_path / f"with-{adapted}" / "results.json").read_text())["sampler/acceptance"]
        assert (acceptance > 0.3) == accepted, ran.out
