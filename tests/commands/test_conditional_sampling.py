"""`ebm sample` on conditional distributions: inpainting with a mask, denoising with known noise, and refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.cli.main import main
from ebm_cli.commands import sample
from ebm_cli.evaluation.mcmc_diagnostics import rhat
from ebm_cli.runs import checkpoint as checkpoints
from tests.samplers.conditional_gaussian import COV, MEAN, conditional_moments, deviation, posterior_moments
from tests.support import FAST, Ebm, last, no_pictures

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a run whose energy is set so that samples in data units are N(MEAN, COV)."""
    folder = tmp_path_factory.mktemp("made")
    words = [word for word in FAST if not word.startswith("energy.")]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        no_pictures(patched)
        assert main(["train", *words, "energy=quadratic", "method=sm", "steps=1", "hydra.run.dir=run"]) == 0
    state = last(folder / "run")
    mean, scale = torch.tensor([2.0, -3.0, 0.0]), torch.tensor([3.0, 0.2, 1.0])
    precision = torch.linalg.inv(COV / torch.outer(scale, scale).double()).float()
    state["energy"] = {"mean": (MEAN.float() - mean) / scale, "raw_precision": precision}
    state["ema"] = {"count": 1, "mean": {f"energy.{name}": value for name, value in state["energy"].items()}}
    state["dataset"]["standardizer"] = {"mean": mean, "scale": scale}
    checkpoints.save(folder / "gaussian.pt", state)
    return folder / "gaussian.pt"


@pytest.fixture
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "samples_figure", lambda x, data, names=None: None)
    monkeypatch.setattr(sample, "save", lambda figure, path: None)


HMC_ADAPTED = ("sampler=hmc", "sampler.step_size=0.05", "sampler.n_leapfrog=4", "adapt=true", "burn_in=150", "thin=1")
HMC_ADAPTED += ("dtype=float64",)
ROWS = np.array([[3.0, 0.0, -1.0], [-2.0, 1.0, 2.0]])


def drawn(folder: str) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Samples, the row of each, and the results."""
    with np.load(Path(folder, "samples.npz")) as arrays:
        assert set(arrays) == {"x", "energy", "row"}
        x, row = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["row"])
    return x, row, json.loads(Path(folder, "results.json").read_text())


@pytest.mark.usefixtures("_no_picture")
def test_sample_inpaints_each_row(ebm: Ebm, made: Path) -> None:
    """The chains of a row sample its conditional distribution in data units; one sample a chain is independent."""
    masks = np.array([[1, 0, 0], [0, 1, 1]])
    np.savez("rows.npz", x=np.where([[1, 0, 1], [1, 1, 1]], ROWS, np.nan), mask=masks)
    words = [f"checkpoint={made}", "init=rows.npz", "mask=rows.npz", "n_samples=4001", "n_chains=4001"]
    ran = ebm("sample", *words, *HMC_ADAPTED, "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    x, row, _ = drawn("out")
    assert row.bincount().tolist() == [2001, 2000]
    for r, keep in enumerate(torch.from_numpy(masks).bool()):
        of_row, given = x[row == r], torch.from_numpy(ROWS[r])
        assert torch.equal(of_row[:, keep], given[keep].expand(len(of_row), -1))
        assert deviation(of_row[:, ~keep], *conditional_moments(keep, given)) < 5
        assert deviation(of_row[:, ~keep], MEAN[~keep], COV[~keep][:, ~keep]) > 20


@pytest.mark.usefixtures("_no_picture")
@pytest.mark.slow
def test_sample_denoises_each_row(ebm: Ebm, made: Path) -> None:
    """The chains of a row sample its posterior under noise in data units; another noise is the control."""
    np.save("rows.npy", ROWS)
    words = [f"checkpoint={made}", "init=rows.npy", "noise_std=0.7", "n_samples=4000", "n_chains=4000"]
    ran = ebm("sample", *words, *HMC_ADAPTED, "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    x, row, _ = drawn("out")
    for r, given in enumerate(torch.from_numpy(ROWS)):
        for std, fits in ((0.7, True), (0.9, False)):
            mean, cov = posterior_moments(given, torch.full((3,), std).double())
            assert (deviation(x[row == r], mean, cov) < 5) is fits


@pytest.mark.usefixtures("_no_picture")
@pytest.mark.slow
def test_sample_diagnoses_the_chains_of_each_row(ebm: Ebm, made: Path) -> None:
    """R̂ of exact chains is near 1 although the rows differ, with neither kept nor unused coordinates in it."""
    np.savez("rows.npz", x=[[3.0, 0.0, -1.0], [0.0, -6.0, 2.0]], mask=[[0, 1, 1], [0, 1, 0]])
    words = [f"checkpoint={made}", "init=rows.npz", "mask=rows.npz", "n_samples=4000", "n_chains=20"]
    words += ["burn_in=100", "thin=4", "sampler=hmc", "sampler.step_size=0.15", "sampler.n_leapfrog=4", "dtype=float64"]
    assert ebm("sample", *words, "hydra.run.dir=out").code == 0
    x, _, results = drawn("out")
    assert results["sampler/rhat"] < 1.05
    assert results["sampler/ess_bulk"] > 400
    assert float(rhat(x.view(200, 20, 3))[0]) > 1.5  # all chains as if they had one distribution


def test_sample_draws_completed_images(ebm: Ebm) -> None:
    """The lower halves of held-out digits are sampled, the upper halves kept, and both drawn as a picture."""
    tiny = ("energy=quadratic", "method=sm", "steps=1", "batch_size=16", "log_every=1", "metrics=[score]")
    tiny += ("eval.n_samples=20", "eval.n_chains=10", "eval.burn_in=1", "dataset=digits")
    with pytest.MonkeyPatch.context() as patched:
        no_pictures(patched)
        assert ebm("train", *tiny, "hydra.run.dir=run").code == 0
    mask = np.zeros((1, 8, 8), dtype=bool)
    mask[:, :4] = True
    np.save("mask.npy", mask)
    words = ("init=data", "mask=mask.npy", "n_samples=12", "n_chains=6", "burn_in=2", "hydra.run.dir=out")
    ran = ebm("sample", "checkpoint=run", *words)
    assert (ran.code, ran.err) == (0, "")
    assert Path("out/samples.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    x, row, _ = drawn("out")
    assert x.shape == (12, 1, 8, 8)
    assert torch.equal(x[0][:, :4], x[6][:, :4])
    assert row.tolist() == [*range(6)] * 2
    assert not torch.equal(x[0][:, 4:], x[6][:, 4:])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["mask=half.npy"], "mask needs given rows: set init=FILE, or init=data for held-out rows"),
        (["noise_std=1"], "noise_std needs given rows: set init=FILE, or init=data for held-out rows"),
        (
            ["init=rows.npy", "mask=half.npy", "noise_std=1"],
            "mask and noise_std exclude each other: a coordinate is either kept or noisy; set one of them to null",
        ),
        (["init=rows.npy", "mask=gone.npy"], "mask=gone.npy: must be an .npy or .npz file that exists"),
        (["init=rows.npy", "mask=text.npy"], "mask=text.npy: cannot be read as .npy, or as .npz with an array mask"),
        (["init=rows.npy", "mask=rows.npz"], "mask=rows.npz: cannot be read as .npy, or as .npz with an array mask"),
        (["init=rows.npy", "mask=wide.npy"], "mask=wide.npy: must have the shape (3) or (N, 3), got (4,)"),
        (
            ["init=rows.npy", "mask=grey.npy"],
            "mask=grey.npy: must hold true/1 (keep) and false/0 (sample), got float64",
        ),
        (["init=rows.npy", "mask=words.npy"], "mask=words.npy: must hold true/1 (keep) and false/0 (sample), got <U2"),
        (["init=rows.npy", "mask=all.npy"], "mask=all.npy: keeps every coordinate, so there is nothing to sample"),
        (["init=rows.npy", "mask=second.npy"], "mask=second.npy: keeps every coordinate in row 1, so there is"),
        (["init=rows.npy", "mask=none.npy"], "mask=none.npy: keeps no coordinate; 1 means keep, 0 sample"),
        (["init=rows.npy", "mask=three.npy"], "mask=three.npy: must hold one mask, or one for each of the 2 rows of"),
        (["init=nan.npy", "mask=half.npy"], "init=nan.npy: row 1 keeps a number that is not finite"),
        (["init=nan.npy", "noise_std=1"], "init=nan.npy: row 1 holds a number that is not finite"),
        (["init=words.npy", "mask=half.npy"], "init=words.npy: must hold numbers, got an array of <U2"),
        (["init=rows.npy", "noise_std=0"], "noise_std must be > 0, got 0"),
        (["init=rows.npy", "noise_std=a"], "noise_std must be a number or null, got 'a'"),
        (
            ["init=rows.npy", "mask=half.npy", "n_chains=1", "n_samples=1"],
            "n_chains must be >= 2, one for each row of init=rows.npy, got 1",
        ),
        (
            ["init=rows.npy", "noise_std=0.001", "sampler=langevin"],
            "noise_std=0.001: chains of Langevin with step_size 0.01 diverge on noise that narrow; lower",
        ),
        (["anneal=0.5"], "anneal must be >= 1, got 0.5"),
        (["anneal=1e400"], "anneal must be finite, got inf"),
        (["anneal=2", "sampler=mala", "sampler.temperature=2"], "anneal=2: must be above sampler.temperature, 2"),
        (["anneal=2", "burn_in=1"], "anneal=2: burn_in must be >= 2, over which it falls, got 1"),
        (
            ["anneal=2", "burn_in=3", "sampler=mala", "adapt=true"],
            "anneal=2: burn_in must be >= 4, over which it falls, got 3",
        ),
    ],
)
def test_sample_refuses_conditions_that_do_not_fit(ebm: Ebm, made: Path, words: list[str], line: str) -> None:
    arrays: dict[str, Array] = {
        "rows": ROWS, "nan": np.array([[0, 0, 0], [np.nan, 0, 0]]), "half": np.array([1, 0, 0]),
        "wide": np.ones(4), "grey": np.array([1, 0.5, 0]), "words": np.array([["ja", "no", "no"]]), "all": np.ones(3),
        "second": np.array([[1, 0, 0], [1, 1, 1]]), "none": np.zeros(3), "three": np.eye(3),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    np.savez("rows.npz", x=ROWS)
    Path("text.npy").write_text("no array\n")
    before = sorted(Path().rglob("*"))
    ran = ebm("sample", f"checkpoint={made}", *words)
    assert (ran.code, len(ran.err.splitlines())) == (1, 1), ran.err
    assert line in ran.err
    assert sorted(Path().rglob("*")) == before
