"""`ebm evaluate` from end to end: the results of the end of training, from the checkpoint alone."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebm_cli.cli.main import main
from ebm_cli.commands import evaluate
from ebm_cli.densities import reference_fit
from ebm_cli.densities.memo import KEPT
from ebm_cli.densities.reference_fit import fit_reference
from ebm_cli.runs.record import read
from tests.support import TINY, Ebm, no_pictures, seeded

BUDGET = ("eval.n_samples=300", "eval.n_chains=60", "eval.n_temperatures=30", "eval.burn_in=30")
ALL = "metrics=[density,score,samples,chains]"
TIMED = {"sampler/ess_per_second"}


def trained(folder: Path, *words: str, tiny: tuple[str, ...] = TINY) -> Path:
    """A run without pictures, in folder/run."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        no_pictures(patched)
        assert main(["train", *tiny, *BUDGET, *words, "hydra.run.dir=run"]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def planar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cd in two dimensions; its best checkpoint is not its last, and its averages are not its weights."""
    words = ("method=cd", "dataset=eight_gaussians", "steps=6", "ema=0.9", "optimizer.lr=0.05", "seed=3", ALL)
    return trained(tmp_path_factory.mktemp("planar"), *words)


@pytest.fixture(scope="module")
def spatial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nce on rows of a file with three columns, of unknown density."""
    folder = tmp_path_factory.mktemp("spatial")
    rows = np.random.default_rng(0).normal(size=(500, 3)) * [1, 2, 5] + [0, 10, -5]
    np.save(folder / "rows.npy", rows)
    return trained(folder, "dataset=file", f"dataset.path={folder / 'rows.npy'}", "steps=30", "ema=0", ALL)


@pytest.fixture
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "final_figure", lambda *arguments: None)
    monkeypatch.setattr(evaluate, "save", lambda figure, path: None)


def evaluate_run(ebm: Ebm, run: Path, *words: str) -> dict[str, Any]:
    """Run `ebm evaluate`; the results that it writes to a new folder in the run."""
    before = set(run.glob("evaluate/*"))
    ran = ebm("evaluate", f"checkpoint={run}", *BUDGET, *words)
    assert (ran.code, ran.err) == (0, "")
    [folder] = set(run.glob("evaluate/*")) - before
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


def results_of_training(run: Path) -> dict[str, Any]:
    """The results of the final model at the end of training, without costs and monitored values."""
    results = json.loads((run / "results.json").read_text())
    return {key: value for key, value in results.items() if key.startswith(("eval/", "sampler/")) and key not in TIMED}


@pytest.mark.usefixtures("_no_picture")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["planar", "spatial"])
def test_results_equal_those_of_the_end_of_training(ebm: Ebm, name: str, request: pytest.FixtureRequest) -> None:
    """Bit for bit: the same protocol, the same streams of random numbers, the same averaged weights."""
    run = request.getfixturevalue(name)
    results = evaluate_run(ebm, run, ALL)
    assert {key: value for key, value in results.items() if key not in TIMED} == results_of_training(run)
    other = evaluate_run(ebm, run, ALL, "seed=12")
    assert other["eval/mmd_null"] != results["eval/mmd_null"]


def test_evaluate_writes_results_and_a_picture(ebm: Ebm, planar: Path) -> None:
    ran = ebm("evaluate", f"checkpoint={planar}", *BUDGET)
    assert ran.code == 0
    folder = max(planar.glob("evaluate/*"))
    assert {path.name for path in folder.iterdir()} >= {"results.json", "evaluation.png"}
    assert (folder / "evaluation.png").read_bytes().startswith(b"\x89PNG")
    for word in ("kl", "mode_tv", "wrong", "poor", "differs", "data:", "chain_temperature", "rhat", "evaluation.png"):
        assert word in ran.out, word


@pytest.mark.usefixtures("_no_picture")
def test_record_has_the_results_of_the_newest_evaluation(ebm: Ebm, planar: Path) -> None:
    """With the costs of training, and without the results that the evaluation was not asked for."""
    evaluate_run(ebm, planar, "metrics=[density]", "weights=raw")
    record = read(planar)
    newest = json.loads((max(planar.glob("evaluate/*")) / "results.json").read_text())
    assert {key: value for key, value in record.results.items() if not key.startswith("cost/")} == newest
    assert record.results["cost/grad_evals"] > 0
    assert "eval/mmd" not in record.results


@pytest.mark.usefixtures("_no_picture")
def test_weights_and_which_choose_the_model(ebm: Ebm, planar: Path) -> None:
    kl = [
        evaluate_run(ebm, planar, "metrics=[density]", *words)["eval/kl"]
        for words in ((), ("weights=raw",), ("which=best",))
    ]
    assert kl[0] == results_of_training(planar)["eval/kl"]
    assert kl[1] != kl[0]


@pytest.mark.usefixtures("_no_picture")
def test_only_the_requested_metrics_are_computed(ebm: Ebm, planar: Path) -> None:
    whole = results_of_training(planar)
    density = evaluate_run(ebm, planar, "metrics=[density]")
    score = evaluate_run(ebm, planar, "metrics=[score]")
    chains = evaluate_run(ebm, planar, "metrics=[chains]")
    assert set(score) == {"eval/fisher", "eval/fisher_flat", "eval/ksd", "eval/ksd_p", "eval/overall"}
    assert {"eval/kl", "eval/log_z", "eval/mode_tv"} < set(density)
    assert {"sampler/rhat", "eval/chain_temperature", "eval/chain_temperature_se"} < set(chains)
    for part in (density, score, chains):
        # The overall word is that of the results that are there.
        measured = part.keys() - TIMED - {"eval/overall"}
        assert {key: part[key] for key in measured}.items() <= whole.items()
    assert set(density) & set(score) == {"eval/overall"}


@pytest.mark.usefixtures("_no_picture")
@pytest.mark.slow
def test_another_sampler_can_evaluate(ebm: Ebm, planar: Path) -> None:
    mala = evaluate_run(ebm, planar, "metrics=[chains]")
    hmc = evaluate_run(ebm, planar, "metrics=[chains]", "eval.sampler=hmc")
    assert hmc["sampler/step_size"] != mala["sampler/step_size"]
    # hmc takes ten gradients a step, mala one.
    assert hmc["sampler/ess_per_grad"] < 0.5 * hmc["sampler/ess_bulk"] / 300


def test_three_dimensions_have_a_log_z_with_an_error(spatial: Path) -> None:
    """A model of data with an unknown density is compared with the fitted Gaussian."""
    results = results_of_training(spatial)
    assert results["eval/log_z_method"] == "importance"
    assert 0 < results["eval/log_z_se"] < 0.01
    assert results["eval/log_z_gap"] == pytest.approx(results["eval/log_z_learned"] - results["eval/log_z"])
    assert results["eval/nll_se"] >= results["eval/log_z_se"]
    assert {"eval/nll_vs_gaussian", "eval/nll_vs_gaussian_se"} <= set(results)
    assert not {"eval/kl", "eval/entropy", "eval/fisher", "eval/mode_tv"} & set(results)


@pytest.mark.usefixtures("_no_picture")
@pytest.mark.slow
def test_annealing_may_start_at_the_noise_of_the_method(ebm: Ebm, spatial: Path) -> None:
    gaussian = evaluate_run(ebm, spatial, "metrics=[density]")
    noise = evaluate_run(ebm, spatial, "metrics=[density]", "eval.base=method")
    error = math.hypot(gaussian["eval/log_z_se"], noise["eval/log_z_se"])
    assert noise["eval/log_z"] == pytest.approx(gaussian["eval/log_z"], abs=5 * error)


def test_annealing_brackets_the_exact_log_z(ebm: Ebm, tmp_path: Path) -> None:
    """A Gaussian energy in three dimensions has exact samples: the backward bound is above, the forward one below."""
    words = ["energy=quadratic", "dataset=gaussian", "dataset.density.dim=3", "steps=5", "metrics=[density,chains]"]
    run = trained(tmp_path, *words, "eval.n_temperatures=100", tiny=tuple(w for w in TINY if "width" not in w))
    results = results_of_training(run)
    assert results["eval/log_z_method"] == "exact"
    five = 5 * results["eval/log_z_ais_se"]
    assert results["eval/log_z_ais"] == pytest.approx(results["eval/log_z"], abs=five)
    assert results["eval/log_z_ais_upper"] > results["eval/log_z"] - five
    assert results["eval/log_z_ais_gap"] == pytest.approx(results["eval/log_z_ais_upper"] - results["eval/log_z_ais"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["checkpoint=nowhere"], "checkpoint=nowhere: no such file or directory"),
        (
            ["checkpoint={run}", "metrics=[kl]"],
            "metrics must be a list out of density, score, samples, chains, features, ood, or mappings with _target_",
        ),
        (["checkpoint={run}", "metrics=[]"], "metrics must name at least one group of results, got []"),
        (["checkpoint={run}", "eval.n_chains=1"], "eval.n_chains must be >= 10, got 1"),
        (["checkpoint={run}", "eval.n_samples=1_000_000_000_000"], "eval.n_samples=1000000000000: 8.0 TB of samples, "),
        (["checkpoint={run}", "parallel.ranks=0"], "parallel.ranks must be >= 1, got 0"),
        (["checkpoint={run}", "eval.base=flow"], "eval.base must be one of auto, gaussian, method, got 'flow'"),
        (["checkpoint={run}", "eval.sampler=langvin"], "eval.sampler=langvin: no such option; did you mean langevin?"),
        (["checkpoint={run}", "n_samples=10"], "n_samples: no such key"),
    ],
)
def test_wrong_word_is_refused_in_one_line(ebm: Ebm, planar: Path, tmp_path: Path, words: list[str], line: str) -> None:
    before = set(planar.glob("evaluate/*"))
    ran = ebm("evaluate", *[word.format(run=planar) for word in words])
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert line in ran.err
    assert set(planar.glob("evaluate/*")) == before


def test_missing_data_are_named(ebm: Ebm, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60, 2)))
    run = trained(tmp_path, "dataset=file", f"dataset.path={tmp_path / 'rows.npy'}", "steps=2")
    (tmp_path / "rows.npy").unlink()
    ran = ebm("evaluate", f"checkpoint={run}")
    assert ran.code == 1
    assert "rows.npy" in ran.err
    assert not (run / "evaluate").exists()


def test_evaluate_leaves_the_run_unchanged(ebm: Ebm, planar: Path) -> None:
    """It does not draw from the global generator, and no file of the run changes."""
    before = {path: path.read_bytes() for path in planar.rglob("*") if path.is_file() and "evaluate" not in path.parts}
    state = torch.get_rng_state()
    assert ebm("evaluate", f"checkpoint={planar}", *BUDGET, "metrics=[density,samples]").code == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.slow
def test_copied_rows_come_before_other_causes(ebm: Ebm, tmp_path: Path) -> None:
    np.save(tmp_path / "copies.npy", np.tile(np.random.default_rng(0).normal(size=(10, 2)), (20, 1)))
    words = ("dataset=file", "dataset.path=copies.npy", "method=cd", "method.k=2", "optimizer.lr=0.5", "steps=20")
    trained = ebm("train", *TINY, *words, "metrics=[density]", "hydra.run.dir=run")
    measured = ebm("evaluate", "checkpoint=run", "metrics=[density]")
    for ran in (trained, measured):
        panel = " ".join(ran.out.partition("╭")[2].replace("│", " ").split())
        assert panel.index("Data: 190 of 200 rows repeat another one") < panel.index("optimizer.lr=0.5 is large")
        assert "steps are few" not in panel


@pytest.mark.slow
def test_evaluation_of_a_table_fits_no_density_again(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The noise of nce and the energy's reference are those of the checkpoint: same results, and no fit of all rows."""
    run = trained(tmp_path_factory.mktemp("table"), "method=nce", "dataset=iris", "steps=3", "metrics=[density]")
    fitted = []
    kept = reference_fit._best
    monkeypatch.setattr(reference_fit, "_best", lambda z, *keys: (fitted.append(len(z)), kept(z, *keys))[1])
    # As in a process of its own, the fits of training are forgotten; and fits are counted.
    for seed in range(KEPT):
        fit_reference(torch.randn(60, 1, generator=seeded(seed)))
    assert fitted == [60] * KEPT
    monkeypatch.chdir(run.parent)
    words = (f"checkpoint={run}", "metrics=[density]", "which=last", "hydra.run.dir=again")
    assert main(["evaluate", *words, *BUDGET]) == 0
    assert len(fitted) == KEPT
    before, again = (json.loads((folder / "results.json").read_text()) for folder in (run, run.parent / "again"))
    assert again["eval/log_z"] == before["eval/log_z"]
    assert again["eval/nll"] == before["eval/nll"]
