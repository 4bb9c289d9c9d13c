"""Chains on what is left open: a Gaussian's conditionals and posteriors have closed forms; also from the shell."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.cli.main import main
from ebm_cli.commands import sample
from ebm_cli.derivatives import value_and_grad
from ebm_cli.evaluation.mcmc_diagnostics import rhat
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.samplers import Conditional, Kernel, posterior, run
from ebm_cli.samplers.hmc import HMC
from ebm_cli.samplers.mala import MALA
from ebm_cli.samplers.metropolis import Metropolis
from tests.support import FAST, Ebm, last, no_pictures

Array = np.ndarray[Any, Any]

MEAN = torch.tensor([1.0, -2.0, 0.5]).double()
COV = torch.tensor([[2.0, 1.2, -0.6], [1.2, 1.5, 0.3], [-0.6, 0.3, 1.0]]).double()


def gaussian(x: Tensor) -> Tensor:
    centred = x.flatten(1) - MEAN
    return 0.5 * (centred @ torch.linalg.inv(COV) * centred).sum(1)


def conditioned(keep: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the free coordinates of N(MEAN, COV), given that the kept ones are those of x."""
    free, gain = ~keep, COV[~keep][:, keep] @ torch.linalg.inv(COV[keep][:, keep])
    return MEAN[free] + gain @ (x[keep] - MEAN[keep]), COV[free][:, free] - gain @ COV[keep][:, free]


def errors(x: Tensor, mean: Tensor, cov: Tensor) -> float:
    """How far mean and covariance of independent rows are from these, in standard errors."""
    n, variance = len(x), cov.diagonal()
    off = (x.mean(0) - mean) / (variance / n).sqrt()
    spread = ((torch.outer(variance, variance) + cov**2) / n).sqrt()
    centred = x - mean
    return float(torch.cat([off, ((centred.T @ centred / n - cov) / spread).flatten()]).abs().max())


# --- the kernels ------------------------------------------------------------------------------------------------------

N = 20_000


def start(keep: Tensor, given: Tensor, rng: torch.Generator) -> Tensor:
    """N points of the conditional, drawn exactly: [N, 3]."""
    mean, cov = conditioned(keep, given)
    x = given.repeat(N, 1)
    z = torch.randn(N, int((~keep).sum()), generator=rng, dtype=torch.float64)
    x[:, ~keep] = mean + z @ torch.linalg.cholesky(cov).T
    return x


@pytest.mark.parametrize("kernel", [MALA(0.1), HMC(0.3, n_leapfrog=3), Metropolis(0.5)], ids=lambda k: type(k).__name__)
@pytest.mark.parametrize("kept", [[True, False, False], [False, True, True]])
def test_a_kernel_leaves_the_conditional_invariant(kernel: Kernel, kept: list[bool]) -> None:
    """From exact draws to exact draws, and what was kept stays bit for bit."""
    keep, given = torch.tensor(kept), torch.tensor([3.0, 0.0, -1.0]).double()
    rng = torch.Generator().manual_seed(0)
    x = start(keep, given, rng)
    target = Conditional(gaussian, x, keep.expand_as(x))
    state, info = run(kernel, target, target.coordinates(x), 10, rng)
    after = target.point(state.x)
    assert 0.1 < float(info.accept.mean()) < 0.999
    assert torch.equal(after[:, keep], given[keep].expand(N, -1))
    assert not torch.equal(after[:, ~keep], x[:, ~keep])
    assert errors(after[:, ~keep], *conditioned(keep, given)) < 5
    # The marginal, which does not know what was kept, is another law.
    assert errors(after[:, ~keep], MEAN[~keep], COV[~keep][:, ~keep]) > 50


def test_putting_values_back_is_not_sampling_the_conditional() -> None:
    """The control: a chain of all coordinates, whose kept ones are restored after each step, drifts off."""
    keep, given = torch.tensor([True, False, False]), torch.tensor([3.0, 0.0, -1.0]).double()
    rng = torch.Generator().manual_seed(0)
    x = start(keep, given, rng)
    for _ in range(10):
        x = torch.where(keep, given, run(MALA(0.4), gaussian, x, 1, rng)[0].x)
    assert errors(x[:, ~keep], *conditioned(keep, given)) > 10


def test_rows_may_keep_different_numbers_of_coordinates() -> None:
    """Half of the chains keep two, half keep one: each half has its own conditional; what is left over is N(0, 1)."""
    masks = torch.tensor([[True, True, False], [False, False, True]])
    given = torch.tensor([[3.0, 0.0, -1.0], [-2.0, 1.0, 2.0]]).double()
    rng = torch.Generator().manual_seed(0)
    x = torch.cat([start(keep, row, rng) for keep, row in zip(masks, given, strict=True)])
    target = Conditional(gaussian, x, masks.repeat_interleave(N, 0))
    z = target.coordinates(x)
    assert z.shape == (2 * N, 2)
    z[~target.free] = torch.randn(N, generator=rng, dtype=torch.float64)
    state, _ = run(HMC(0.3, n_leapfrog=3), target, z, 10, rng)
    for half, (keep, row) in enumerate(zip(masks, given, strict=True)):
        after = target.point(state.x)[half * N : (half + 1) * N]
        assert torch.equal(after[:, keep], row[keep].expand(N, -1))
        assert errors(after[:, ~keep], *conditioned(keep, row)) < 5
    spare = state.x[~target.free].unsqueeze(1)
    assert errors(spare, torch.zeros(1).double(), torch.eye(1).double()) < 5


def test_a_conditional_is_the_energy_with_the_kept_values_in_it() -> None:
    """Value and gradient, for points that are images, and the way there and back."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(4, 1, 2, 3, generator=rng).double()
    keep = torch.rand(4, 1, 2, 3, generator=rng) < 0.4
    keep[0] = False

    def energy(x: Tensor) -> Tensor:
        return (x.flatten(1) ** 4).sum(1) + x.flatten(1)[:, 0] * x.flatten(1)[:, 5]

    target = Conditional(energy, x, keep)
    z = target.coordinates(x)
    assert torch.equal(target.point(z), x)
    moved = target.point(z + 1)
    assert torch.equal(moved, torch.where(keep, x, x + 1))
    (value, grad), (_, full) = value_and_grad(target, z), value_and_grad(energy, x)
    assert torch.allclose(value, energy(x))
    assert torch.allclose(grad, target.coordinates(full))


def test_what_conditional_refuses() -> None:
    x = torch.zeros(3, 2)
    keep = torch.tensor([[True, False], [True, True], [False, False]])
    with pytest.raises(ValueError, match=r"^keep must leave a coordinate free, row 1 keeps all"):
        Conditional(gaussian, x, keep)
    with pytest.raises(ValueError, match=r"^keep must have the shape \(3, 2\) of given, got \(2,\)"):
        Conditional(gaussian, x, keep[0])


def test_the_posterior_of_a_noisy_point() -> None:
    """N(MEAN, COV) seen through noise of sd s: precision P + I/s², mean (P + I/s²)⁻¹ (P m + y/s²)."""
    y, s = torch.tensor([3.0, 0.0, -1.0]).double(), torch.tensor([0.5, 1.0, 2.0]).double()
    precision = torch.linalg.inv(COV)
    cov = torch.linalg.inv(precision + torch.diag(s**-2))
    mean = cov @ (precision @ MEAN + y / s**2)
    rng = torch.Generator().manual_seed(0)
    x = mean + torch.randn(N, 3, generator=rng, dtype=torch.float64) @ torch.linalg.cholesky(cov).T
    after = run(HMC(0.4, n_leapfrog=3), posterior(gaussian, y, s), x, 10, rng)[0].x
    assert errors(after, mean, cov) < 5
    assert errors(run(HMC(0.4, n_leapfrog=3), posterior(gaussian, y, 1.1 * s), x, 10, rng)[0].x, mean, cov) > 5


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's checkpoint, with the energy whose samples in data units are N(MEAN, COV) put in by hand."""
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
    monkeypatch.setattr(sample.plots, "samples_figure", lambda x, data: None)
    monkeypatch.setattr(sample.figure, "save", lambda figure, path: None)


HMC_ADAPTED = ("sampler=hmc", "sampler.step_size=0.05", "sampler.n_leapfrog=4", "adapt=true", "burn_in=150", "thin=1")
HMC_ADAPTED += ("dtype=float64",)
ROWS = np.array([[3.0, 0.0, -1.0], [-2.0, 1.0, 2.0]])


def drawn(folder: str) -> tuple[Tensor, Tensor, dict[str, float]]:
    """x, the row of each, and the results."""
    with np.load(Path(folder, "samples.npz")) as arrays:
        assert set(arrays) == {"x", "energy", "row"}
        x, row = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["row"])
    return x, row, json.loads(Path(folder, "results.json").read_text())


@pytest.mark.usefixtures("_no_picture")
def test_inpainting_from_the_shell(ebm: Ebm, made: Path) -> None:
    """Each row's chains have its conditional, in data units; one sample a chain: independent draws."""
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
        assert errors(of_row[:, ~keep], *conditioned(keep, given)) < 5
        assert errors(of_row[:, ~keep], MEAN[~keep], COV[~keep][:, ~keep]) > 20


@pytest.mark.usefixtures("_no_picture")
def test_denoising_from_the_shell(ebm: Ebm, made: Path) -> None:
    """The posterior of each row under noise of a sd in data units."""
    np.save("rows.npy", ROWS)
    words = [f"checkpoint={made}", "init=rows.npy", "noise_std=0.7", "n_samples=4000", "n_chains=4000"]
    ran = ebm("sample", *words, *HMC_ADAPTED, "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    x, row, _ = drawn("out")
    precision = torch.linalg.inv(COV)
    for r, given in enumerate(torch.from_numpy(ROWS)):
        for std, fits in ((0.7, True), (0.9, False)):
            cov = torch.linalg.inv(precision + torch.eye(3) / std**2)
            mean = cov @ (precision @ MEAN + given / std**2)
            assert (errors(x[row == r], mean, cov) < 5) is fits


@pytest.mark.usefixtures("_no_picture")
def test_diagnostics_are_those_of_chains_with_one_law(ebm: Ebm, made: Path) -> None:
    """R̂ of exact chains is near 1 though rows differ, and kept and left over coordinates do not spoil it."""
    np.savez("rows.npz", x=[[3.0, 0.0, -1.0], [0.0, -6.0, 2.0]], mask=[[0, 1, 1], [0, 1, 0]])
    words = [f"checkpoint={made}", "init=rows.npz", "mask=rows.npz", "n_samples=4000", "n_chains=20"]
    words += ["burn_in=100", "thin=4", "sampler=hmc", "sampler.step_size=0.15", "sampler.n_leapfrog=4", "dtype=float64"]
    assert ebm("sample", *words, "hydra.run.dir=out").code == 0
    x, _, results = drawn("out")
    assert results["sampler/rhat"] < 1.05
    assert results["sampler/ess_bulk"] > 400
    assert float(rhat(x.view(200, 20, 3))[0]) > 1.5  # all chains as if they had one law


def test_images_are_shown_beside_what_was_given(ebm: Ebm) -> None:
    """Held-out digits, their lower half sampled: a picture, and the upper half as it was."""
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
        (["mask=half.npy"], "mask needs rows that are given: init=FILE, or init=data"),
        (["noise_std=1"], "noise_std needs rows that are given: init=FILE, or init=data"),
        (["init=rows.npy", "mask=half.npy", "noise_std=1"], "mask and noise_std: a coordinate is kept as it is, or"),
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
        (["init=rows.npy", "mask=none.npy"], "mask=none.npy: keeps no coordinate; 1 keeps, 0 samples"),
        (["init=rows.npy", "mask=three.npy"], "mask=three.npy: must hold one mask, or one for each of the 2 rows of"),
        (["init=nan.npy", "mask=half.npy"], "init=nan.npy: row 1 keeps a number that is not finite"),
        (["init=nan.npy", "noise_std=1"], "init=nan.npy: row 1 holds a number that is not finite"),
        (["init=words.npy", "mask=half.npy"], "init=words.npy: must hold numbers, got an array of <U2"),
        (["init=rows.npy", "noise_std=0"], "noise_std must be > 0, got 0"),
        (["init=rows.npy", "noise_std=a"], "noise_std must be a number or null, got 'a'"),
        (["init=rows.npy", "mask=half.npy", "n_chains=1", "n_samples=1"], "n_chains must be at least 2, one a row"),
        (
            ["init=rows.npy", "noise_std=0.001", "sampler=langevin"],
            "noise_std=0.001: too narrow for Langevin with step_size 0.01, whose chains diverge; lower",
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
def test_what_cannot_work_is_refused(ebm: Ebm, made: Path, words: list[str], line: str) -> None:
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
