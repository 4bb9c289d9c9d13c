"""`ebm train` from end to end: the files of a run, its endings, sweeps, and configs that are refused."""

import json
import math
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

import ebm_cli
from ebm_cli.cli.main import main
from ebm_cli.evaluation.overall import WORDS
from ebm_cli.reporting.board_tags import tag_of
from ebm_cli.reporting.jsonl import read
from ebm_cli.runs import checkpoint as checkpoints
from tests.support import FAST, TINY, Ebm, at_step, differences, last, no_pictures, state_of, status_of, trained

ALL = ("metrics=[density,score,samples,chains]", "eval.n_chains=100", "eval.n_temperatures=40", "eval.burn_in=40")
DISTANCES = ("mmd", "energy_distance", "sliced_wasserstein", "c2st")
KEYS = {
    *("kl", "nll", "entropy", "log_density_mse", "fisher", "log_z", "log_z_method", "border_mass", "mode_tv"),
    *("log_z_learned", "log_z_gap", "fisher_flat", "log_z_ais", "log_z_ais_se", "objective", "ksd", "ksd_p"),
    *("overall", "nll_vs_gaussian"),
    *(f"{name}{part}" for name in DISTANCES for part in ("", "_null", "_p")),
}
CHAINS = ("acceptance", "step_size", "rhat", "separation", "ess_bulk", "ess_tail", "ess_per_grad")
CHAINS += ("ess_per_second", "acceptance_low", "acceptance_high", "never_moved", "non_finite", "n_chains", "n_draws")
CHAINS += ("n_steps", "virial", "virial_se", "virial_exact", "drawn_by")
COST = ("energy_evals", "grad_evals", "laplacian_evals", "seconds", "eval_seconds", "peak_memory_mb")
RESULT_KEYS = {f"eval/{key}" for key in KEYS} | {f"sampler/{key}" for key in CHAINS} | {f"cost/{key}" for key in COST}
"""Keys of results.json for nce on a two-dimensional set."""


def test_new_run_says_what_its_objective_may_lose(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, in train.log: light tails of the noise, where the objective needs heavier ones; a wider noise has them."""
    no_pictures(monkeypatch)
    words = [*FAST, "method=nce", "steps=1", "method.objective=self_normalised"]
    for widen, times in ((1, 1), (3, 0)):
        assert ebm("train", *words, f"noise.widen={widen}", f"hydra.run.dir={widen}").code == 0
        assert (tmp_path / str(widen) / "train.log").read_text().count("infinite variance") == times


# --- one whole run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that evaluates, saves and prunes; no global generator is drawn from."""
    folder = tmp_path_factory.mktemp("run")
    words = ["steps=7", "checkpoint_every=2", "eval_every=3", "keep=2", "ema=0.9", "optimizer.lr=0.02"]
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert main(["train", *TINY, "eval.n_samples=2400", *ALL, *words, "hydra.run.dir=run"]) == 0
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    return folder / "run"


def test_files_of_a_run(run: Path) -> None:
    [events] = run.glob("events.out.tfevents.*")
    assert {path.name for path in run.iterdir()} == {
        ".hydra", ".lock", "config.yaml", "train.log", events.name, "figures", "metrics.jsonl", "results.json",
        "status.json", "checkpoints",
    }  # fmt: skip
    assert {path.name for path in (run / ".hydra").iterdir()} == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    assert {path.name for path in (run / "checkpoints").iterdir()} == {
        "step-00000006.pt", "step-00000007.pt", "last.pt", "best.pt",
    }  # fmt: skip
    assert (run / "figures" / "final.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_status_of_a_run(run: Path) -> None:
    status = status_of(run)
    assert {"state", "step", "steps", "started", "ended", "reason", "versions", "git"} <= set(status)
    assert (status["state"], status["step"], status["steps"], status["reason"]) == ("finished", 7, 7, None)
    assert status["started"] <= status["ended"]


def test_results_of_a_run(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert set(results) == RESULT_KEYS
    assert results.pop("eval/log_z_method") == "grid"
    assert results.pop("eval/overall") in WORDS
    assert results.pop("sampler/drawn_by") == "mala"
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in results.values())
    assert results["eval/kl"] == pytest.approx(results["eval/nll"] - results["eval/entropy"], abs=1e-6)
    assert results["eval/log_z_gap"] == pytest.approx(results["eval/log_z_learned"] - results["eval/log_z"], abs=1e-9)
    assert results["cost/energy_evals"] == 2.0


def test_metrics_of_a_run(run: Path) -> None:
    """One flat object for each logged step, with the results of its evaluation, if any."""
    rows = read(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    for row in rows:
        assert {"train/loss", "train/grad_norm", "train/lr_energy", "train/accuracy", "train/log_z"} <= set(row)
        assert all(isinstance(value, int | float) for value in row.values())
        assert ("eval/kl" in row) == (row["step"] in (3, 6, 7))
    results = json.loads((run / "results.json").read_text())
    assert all(rows[-1][key] == value for key, value in results.items() if not isinstance(value, str))


def test_checkpoint_of_a_run(run: Path) -> None:
    state = last(run)
    assert {
        "format", "config", "step", "energy", "ema", "method", "optimizers", "schedules", "dataset", "rng", "versions",
    } <= set(state)  # fmt: skip
    assert state["step"] == 7
    assert state["config"] == OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
    assert "${" not in (run / "config.yaml").read_text()
    assert state["config"]["device"] in ("cpu", "cuda", "mps")
    assert state["config"]["threads"] == 1
    assert state["config"]["method"]["noise"]["_target_"].startswith("ebm_cli.")
    assert checkpoints.first_non_finite(state) is None


def test_best_checkpoint_has_the_lowest_monitored_value(run: Path) -> None:
    rows = {row["step"]: row["eval/kl"] for row in read(run / "metrics.jsonl") if "eval/kl" in row}
    best = last(run, "best.pt")
    assert best["best"] == min(rows.values())  # type: ignore[type-var]
    assert rows[best["step"]] == best["best"]


def test_events_of_a_run(run: Path) -> None:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    rows = read(run / "metrics.jsonl")
    tags = events.Tags()
    assert {tag_of(key) for row in rows for key in row} - {"step"} == set(tags["scalars"])
    assert sorted(tags["scalars"])[0] == "eval/kl"
    for key in ("train/loss", "eval/kl"):
        seen = {event.step: event.value for event in events.Scalars(key)}
        assert seen == pytest.approx({row["step"]: row[key] for row in rows if key in row}, rel=1e-6)
    assert "final" in tags["images"]
    [config] = [tag for tag in tags["tensors"] if tag.startswith("config")]
    assert "batch_size: 16" in events.Tensors(config)[0].tensor_proto.string_val[0].decode()
    assert metadata.SESSION_START_INFO_TAG in events.PluginTagToContent(metadata.PLUGIN_NAME)


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


@pytest.mark.usefixtures("_no_pictures")
def test_only_the_seed_changes_the_weights(ebm: Ebm, tmp_path: Path) -> None:
    """The intervals of evaluating, logging and saving do not."""
    words = [*TINY, "dataset=gaussian", "dataset.density.dim=1", "method=cd", "method.k=2", "steps=6"]
    assert ebm("train", *words, "hydra.run.dir=a").code == 0
    assert ebm("train", *words, "hydra.run.dir=b", "eval_every=2", "log_every=4", "checkpoint_every=1").code == 0
    assert ebm("train", *words, "hydra.run.dir=c", "seed=1").code == 0
    a, b, c = (trained(tmp_path / name) for name in "abc")
    assert differences(a, b) == []
    for part in ("energy", "rng", "dataset"):
        assert differences(a[part], c[part]), part


@pytest.mark.usefixtures("_no_pictures")
def test_without_ema_the_average_equals_the_weights(ebm: Ebm, tmp_path: Path) -> None:
    assert ebm("train", *FAST, "steps=4", "ema=0", "hydra.run.dir=run", "dtype=float64").code == 0
    ema, raw = ebm_cli.load(tmp_path / "run"), ebm_cli.load(tmp_path / "run", weights="raw")
    assert differences(dict(ema.network.state_dict()), dict(raw.network.state_dict())) == []
    assert {p.dtype for p in [*ema.network.parameters(), *ema.standardizer.buffers()]} == {torch.float64}
    assert differences(dict(ema.standardizer.state_dict()), last(tmp_path / "run")["dataset"]["standardizer"]) == []


# --- endings ----------------------------------------------------------------------------------------------------------


DIVERGING = ["optimizer=sgd", "schedule=constant", "clip_grad_norm=null"]


@pytest.mark.usefixtures("_no_pictures")
@pytest.mark.parametrize(
    ("words", "step", "symptom"),
    [
        (["optimizer.lr=1e10"], None, "the "),
        # Loss and gradient are finite, but the updated weights are not: their checkpoint would be useless.
        (["optimizer.lr=3e38", "+optimizer.weight_decay=1e10"], 1, "energy."),
    ],
)
def test_diverged_run_keeps_finite_checkpoints_only(
    ebm: Ebm, tmp_path: Path, words: list[str], step: int | None, symptom: str
) -> None:
    words = [*FAST, "steps=40", "checkpoint_every=1", "keep=50", "log_every=5", "method=sm", *DIVERGING, *words]
    ran = ebm("train", *words, "hydra.run.dir=run")
    assert ran.code == 3
    assert len(ran.err.splitlines()) == 1
    status = status_of(tmp_path / "run")
    assert status["state"] == "diverged"
    assert status["step"] == step or step is None
    assert ran.err == f"ebm: {status['reason']}\n"
    assert status["reason"].startswith(f"diverged at step {status['step']}: {symptom}")
    assert not (tmp_path / "run" / "results.json").exists()
    kept = sorted((tmp_path / "run" / "checkpoints").glob("*.pt")) if step is None else []
    assert kept or step == 1
    for file in kept:
        state = checkpoints.read(file)
        assert checkpoints.first_non_finite(state) is None
        assert state["step"] < status["step"]
    rows = read(tmp_path / "run" / "metrics.jsonl")
    assert all(value is not None for row in rows for value in row.values())


@pytest.mark.parametrize(
    ("words", "is_warned"),
    [
        (["method=sm"], True),
        pytest.param(["method=ssm"], True, marks=pytest.mark.slow),
        (["method=ssm", "dataset.noise_std=1"], False),
        pytest.param(["method=ssm", "dataset.dequantise=false"], False, marks=pytest.mark.slow),
        pytest.param(["method=dsm"], False, marks=pytest.mark.slow),
    ],
)
def test_score_matching_warns_of_hard_edges(ebm: Ebm, tmp_path: Path, words: list[str], is_warned: bool) -> None:
    ran = ebm("train", *TINY, "dataset=digits", "dataset.image=false", "metrics=[score]", "steps=1", *words)
    assert ran.code == 0
    assert ("hard edges" in ran.out) is is_warned


def test_ignored_divergence_is_trained_to_the_end(ebm: Ebm, tmp_path: Path) -> None:
    """guard=ignore gives nulls in the metrics, finite numbers only in the results, and figures of the rest."""
    words = [*TINY, "dataset=gaussian", "dataset.density.dim=1", "method=sm", *DIVERGING, "optimizer.lr=1e30"]
    ran = ebm("train", *words, "steps=5", "guard=ignore", "monitor=eval/kl", "hydra.run.dir=run")
    assert (ran.code, ran.err) == (0, "")
    run = tmp_path / "run"
    assert state_of(run) == ("finished", 5, 5)
    assert read(run / "metrics.jsonl")[-1]["train/loss"] is None
    results = json.loads((run / "results.json").read_text())
    assert not {"eval/kl", "eval/log_z", "eval/nll"} & set(results)
    assert all(isinstance(value, str) or math.isfinite(value) for value in results.values())
    assert "eval/log_z: the energy is nan" in ran.out
    assert "best.pt is the last checkpoint: there is no eval/kl" in ran.out
    assert last(run, "best.pt")["step"] == 5


@pytest.mark.usefixtures("_no_pictures")
def test_run_that_max_seconds_ended_is_evaluated(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*FAST, "steps=9", "max_seconds=0.5", "hydra.run.dir=run"]
    at_step(monkeypatch, 4, lambda: time.sleep(0.6))
    assert ebm("train", *words).code == 0
    run = tmp_path / "run"
    assert state_of(run) == ("finished", 4, 9)
    rows = read(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["eval/fisher"] == json.loads((run / "results.json").read_text())["eval/fisher"]
    assert last(run)["step"] == 4
    ran = ebm("train", *words)
    worth = json.loads((run / "results.json").read_text())["eval/overall"].capitalize()
    assert ran.code == 0
    assert ran.err.startswith(f"ebm: {run}: finished at step 4, nothing to do. {worth}: ")
    assert ebm("train", "checkpoint=run", "max_seconds=null").code == 0
    assert state_of(run) == ("finished", 9, 9)


@pytest.mark.usefixtures("_no_pictures")
def test_without_a_monitored_value_the_last_is_the_best(ebm: Ebm, tmp_path: Path) -> None:
    """KSD is computed at the end only; `which=best` must find a checkpoint all the same."""
    assert ebm("train", *FAST, "steps=2", "monitor=eval/ksd", "keep=0", "hydra.run.dir=run").code == 0
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {"best.pt", "last.pt"}
    assert differences(last(tmp_path / "run", "best.pt"), last(tmp_path / "run")) == []


@pytest.mark.usefixtures("_no_pictures")
def test_run_interrupted_in_its_last_step_can_be_finished(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 3, lambda: signal.raise_signal(signal.SIGINT))
    words = [*FAST, "steps=3", "hydra.run.dir=run"]
    assert ebm("train", *words).code == 130
    assert state_of(tmp_path / "run") == ("interrupted", 3, 3)
    assert ebm("train", *words).code == 0
    assert state_of(tmp_path / "run") == ("finished", 3, 3)
    assert [row["step"] for row in read(tmp_path / "run" / "metrics.jsonl")] == [1, 2, 3]


# --- sweeps -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("_no_pictures")
def test_sweep_over_methods_and_seeds(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four directories; a failed job does not stop the others, and the command reports it at the end."""
    at_step(monkeypatch, 3, lambda: 1 / 0)
    ran = ebm("train", "-m", "method=nce,sm", "seed=1,2", *FAST, "steps=5", "hydra.sweep.dir=sweep")
    assert ran.code == 1
    assert "ebm: job 0 (method=nce seed=1" in ran.err
    sweep = tmp_path / "sweep"
    assert {path.name for path in sweep.iterdir()} == {"0", "1", "2", "3", "multirun.yaml"}
    assert [state_of(sweep / job)[0] for job in "0123"] == ["failed", "finished", "finished", "finished"]
    chosen = [OmegaConf.load(sweep / job / "config.yaml") for job in "0123"]
    assert [(cfg.method._target_.rpartition(".")[2], cfg.seed) for cfg in chosen] == [
        ("NCE", 1), ("NCE", 2), ("SM", 1), ("SM", 2),
    ]  # fmt: skip
    weights = [last(sweep / job)["energy"] for job in "123"]
    assert differences(weights[0], weights[2])


# --- data and refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["batch_size=0"], "batch_size must be >= 1, got 0"),
        (["steps=-1"], "steps must be >= 1, got -1"),
        (["optimizer.lr=inf"], "optimizer.lr must be finite and > 0, got inf"),
        (["optimizer=sgd", "optimizer.momentum=inf"], "optimizer.momentum must be finite, got inf"),
        (["optimizer.lr=-1"], "optimizer.lr must be finite and > 0, got -1"),
        (["optimizer._target_=torch.optim.LBFGS"], "optimizer must step without a closure, got LBFGS"),
        (
            ["method=sm", "energy.activation=relu"],
            "energy has a ReLU activation: its Hessian is zero almost everywhere",
        ),
        (["method=ssm", "energy.activation=leaky_relu"], "energy has a LeakyReLU activation"),
        (["method=mle", "dataset=gaussian", "dataset.density.dim=3"], "energy MLP has no closed-form log Z"),
        (["method=fce", "noise=gaussian"], "noise must be a flow that can be trained"),
        (["dataset=file"], "dataset.path"),
        (["dataset=file", "dataset.path=nowhere.npy"], "dataset.path nowhere.npy"),
        (["dataset=file", "dataset.path=bad.npy"], "dataset.path bad.npy"),
        (["dataset=file", "dataset.path=bad.csv"], "dataset.path bad.csv"),
    ],
)
def test_impossible_config_makes_no_directory(ebm: Ebm, tmp_path: Path, words: list[str], line: str) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 2))
    rows[7, 1] = math.nan
    np.save(tmp_path / "bad.npy", rows)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,x\n4,5\n")
    before = sorted(tmp_path.iterdir())
    ran = ebm("train", *words)
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 1, ran.err
    assert line in ran.err
    assert sorted(tmp_path.iterdir()) == before


def test_sampler_of_another_dimension_is_refused_before_a_step(ebm: Ebm, tmp_path: Path) -> None:
    words = ["dataset=mixture", "dataset.density.means=[[-1.0],[1.0]]", "sampler@eval.sampler=mclmc", "steps=1"]
    ran = ebm("train", "method=nce", *words)
    assert ran.code == 1
    assert ran.err == "ebm: eval.sampler: mclmc needs points of at least two dimensions: take mala, hmc or nuts\n"
    ran = ebm("train", "method=cd", "sampler=mclmc", *words[:2])
    assert ran.code == 1
    assert ran.err == "ebm: method.sampler: mclmc needs points of at least two dimensions: take mala, hmc or nuts\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_no_pictures")
def test_rows_of_a_file_can_be_trained_on(ebm: Ebm, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).normal(3.0, 2.0, size=(60, 1)))
    words = ["dataset=file", "dataset.path=mine.npy", "method=sm", "steps=3", "hydra.run.dir=run"]
    assert ebm("train", *TINY, *words).code == 0
    results: dict[str, Any] = json.loads((tmp_path / "run" / "results.json").read_text())
    assert "eval/nll" in results
    assert not {"eval/kl", "eval/entropy", "eval/fisher"} & set(results)
