"""Two phases in one loop: the first is the run without a second, and both resume bit for bit."""

import json
import math
import signal
from pathlib import Path

import pytest
import torch

from ebm_cli.reporting.jsonl import read as metrics_in
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.assemble import assemble, protocol_of
from ebm_cli.training.build import make_trainer, training_work
from ebm_cli.training.guard import Diverged
from ebm_cli.training.monitor import Monitor
from ebm_cli.training.trainer import Trainer
from tests.support import FAST, Ebm, at_step, composed, differences, last, no_pictures, state_of, status_of, trained

WORDS = ["method=sm", "polish=nce", "polish.steps=4", "optimizer.lr=0.01"]


def trainer(*words: str) -> tuple[Trainer, object]:
    cfg = composed("steps=5", "ema=0.9", "method=sm", *words)
    parts = assemble(cfg)
    made = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, made.rng)
    return made, parts.dataset.reference


@pytest.mark.parametrize("polish", ["nce", "ed", "jarzynski"])
@pytest.mark.parametrize("schedule", ["warmup_cosine", "cosine"])
def test_trainer_resumes_in_the_second_phase(polish: str, schedule: str, tmp_path: Path) -> None:
    words = [f"polish={polish}", "polish.steps=6", f"schedule={schedule}", "polish.lr=0.02"]
    whole, data = trainer(*words)
    for _ in range(5):
        whole.advance()
    whole.begin_polishing(data)  # type: ignore[arg-type]
    for _ in range(3):
        whole.advance()
    checkpoints.save(tmp_path / "half.pt", whole.state_dict() | {"config": {}, "dataset": {}, "versions": {}})
    rate = whole.learning_rates()["energy"]
    resumed, _ = trainer(*words)
    resumed.load_state_dict(checkpoints.read(tmp_path / "half.pt"))
    assert resumed.learning_rates()["energy"] == rate > 0.005
    for each in (whole, resumed):
        for _ in range(3):
            each.advance()
    assert differences(resumed.state_dict(), whole.state_dict()) == []
    assert whole.learning_rates()["energy"] == pytest.approx(0, abs=1e-5)


def test_second_phase_begins_with_the_averaged_weights() -> None:
    made, data = trainer("polish=nce")
    for _ in range(5):
        made.advance()
    with made.ema.applied():
        averaged = {name: value.clone() for name, value in made.energy.state_dict().items()}
    assert differences(averaged, made.energy.state_dict())
    made.begin_polishing(data)  # type: ignore[arg-type]
    assert differences(averaged, made.energy.state_dict()) == []


def test_symptoms_of_the_second_objective_end_its_phase_alone() -> None:
    """ed with perturbations far outside the data is at its bound; in the first phase nothing looks at it."""
    made, data = trainer("polish=ed", "polish.method.t=1e10", "polish.steps=400")
    for _ in range(5):
        made.advance()
    made.begin_polishing(data)  # type: ignore[arg-type]
    assert made.guard.read() is None
    for _ in range(210):
        made.advance()
    found = made.guard.read()
    assert found is not None
    assert found.step == 6
    assert "far outside the data" in str(found)
    assert "lower polish.method.t, or set polish.method.whiten=true" in str(found)
    # A rollback to the first phase watches for that of score matching alone.
    first, _ = trainer("polish=ed", "polish.method.t=1e10")
    made.load_state_dict(first.state_dict())
    made.advance()
    assert made.guard.read() is None


def test_advice_of_the_second_phase_names_its_own_rate() -> None:
    made, data = trainer("polish=nce")
    assert "optimizer.lr" in str(not_finite(made))
    made.begin_polishing(data)  # type: ignore[arg-type]
    assert "; lower polish.lr or sampler.step_size" in str(not_finite(made))
    cures = [symptom.cure for symptom in made.guard._symptoms]
    assert any("polish.lr" in cure for cure in cures)
    assert not any("optimizer.lr" in cure for cure in cures)


def not_finite(made: Trainer) -> Diverged | None:
    """The divergence that the guard finds in a step whose loss is not a number."""
    made.guard.reset()
    metrics = dict.fromkeys(made.guard._metrics, torch.zeros(()))
    made.guard.observe(made.step + 1, torch.tensor(math.nan), torch.zeros(()), metrics)
    return made.guard.read()


def test_second_phase_is_as_slow_as_rollbacks_made_the_first() -> None:
    rates = []
    for slower in (1.0, 0.25):
        made, data = trainer("polish=nce", "schedule=constant", "polish.lr=0.02")
        made.begin_polishing(data, slower)  # type: ignore[arg-type]
        rates.append(made.learning_rates()["energy"])
    assert rates == [0.02, 0.005]


@pytest.mark.parametrize(
    ("sampler", "steps"), [("mala", [1, 6]), ("langevin", [1])], ids=["in native code", "weighted in torch"]
)
def test_chains_of_the_second_phase_are_work(sampler: str, steps: list[int]) -> None:
    cfg = composed("method=sm", "polish=jarzynski", "polish.steps=6", f"sampler={sampler}")
    work = training_work(assemble(cfg), 16, protocol_of(cfg, 0, 16, None), 11)
    assert [chains.n_runs for chains in work.chains] == steps
    assert work.chains[-1].n_steps == (5 if len(steps) > 1 else 20)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


@pytest.mark.parametrize("stop", [*(pytest.param(stop, marks=pytest.mark.slow) for stop in (2, 5)), 7])
def test_run_resumes_through_both_phases(stop: int, ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the first phase, at its end, or in the second: the same bits, and every step once."""
    words = [*FAST, *WORDS, "steps=5"]
    assert ebm("train", *words, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        at_step(patched, stop, lambda: signal.raise_signal(signal.SIGTERM))
        assert ebm("train", *words, "hydra.run.dir=half").code == 143
    assert state_of(tmp_path / "half") == ("interrupted", stop, 9)
    assert ebm("train", "checkpoint=half").code == 0
    assert state_of(tmp_path / "half") == ("finished", 9, 9)
    assert differences(trained(tmp_path / "half"), trained(tmp_path / "whole")) == []
    rows = metrics_in(tmp_path / "half" / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert ["train/polish_loss" in row for row in rows] == [False] * 5 + [True] * 4


def test_first_phase_is_the_run_without_a_second(ebm: Ebm, tmp_path: Path) -> None:
    words = [*FAST, "method=sm", "steps=5", "checkpoint_every=5", "keep=9"]
    assert ebm("train", *words, "hydra.run.dir=plain").code == 0
    assert ebm("train", *words, "polish=nce", "polish.steps=3", "hydra.run.dir=polished").code == 0
    plain = checkpoints.read(tmp_path / "plain" / "checkpoints" / "step-00000005.pt")
    first = checkpoints.read(tmp_path / "polished" / "checkpoints" / "step-00000005.pt")
    assert differences(plain["energy"], first["energy"]) == []
    assert first["polish"]["began"] is None
    costs = json.loads((tmp_path / "polished" / "results.json").read_text())
    assert costs["cost/laplacian_evals"] == 1.0
    assert costs["cost/energy_evals"] == pytest.approx(3 / 8 * 2)


def test_more_steps_polish_for_longer(ebm: Ebm, tmp_path: Path) -> None:
    words = [*FAST, *WORDS, "steps=3", "hydra.run.dir=run"]
    assert ebm("train", *words).code == 0
    assert ebm("train", "checkpoint=run", "steps=5").code == 0
    assert state_of(tmp_path / "run") == ("finished", 9, 9)
    assert checkpoints.read(tmp_path / "run" / "checkpoints" / "last.pt")["polish"]["began"] == 3


def test_early_stopping_begins_the_second_phase(ebm: Ebm, tmp_path: Path) -> None:
    """With a learning rate of almost 0 nothing improves; the second phase has patience of its own.

    It is monitored by the Fisher divergence, which does not see what it mends: it has best weights of its own, too.
    """
    words = [*FAST, *WORDS, "steps=50", "eval_every=2", "patience=2", "optimizer.lr=1e-12", "polish.lr=1e-12"]
    assert ebm("train", *words, "polish.steps=4", "hydra.run.dir=run").code == 0
    end = last(tmp_path / "run")
    assert end["step"] - end["polish"]["began"] == 4
    assert end["step"] < 50
    best = last(tmp_path / "run", "best.pt")
    assert best["monitored"] == "val/fisher"
    assert best["step"] > end["polish"]["began"]


@pytest.mark.parametrize(
    ("metrics", "values", "step"),
    [
        pytest.param("density", (1.0, None, None), 5, marks=pytest.mark.slow),
        pytest.param("density", (1.0, 3.0, 2.0), 5, marks=pytest.mark.slow),
        pytest.param("density", (1.0, 3.0, 0.5), 15, marks=pytest.mark.slow),
        ("score", (1.0, None, None), 5),
        ("score", (1.0, 2.0, 3.0), 10),
        ("score", (None, None, None), 15),
    ],
)
def test_best_of_the_first_phase_is_not_destroyed(
    metrics: str, values: tuple[float | None, ...], step: int, ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KL of both phases is compared; a Fisher divergence of the second replaces that of the first, if there is one."""
    found = iter(values)
    monkeypatch.setattr(Monitor, "value", lambda *_: next(found))
    words = [*FAST, *WORDS, f"metrics=[{metrics}]", "steps=5", "eval_every=5", "polish.steps=10"]
    ran = ebm("train", *words, "hydra.run.dir=run")
    assert ran.code == 0
    best = last(tmp_path / "run", "best.pt")
    assert (best["step"], best["monitored"]) == (step, "val/kl" if metrics == "density" else "val/fisher")
    assert list(found) == []


@pytest.mark.slow
def test_best_of_both_phases_resumes(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of the first phase is still to be beaten where a resumed run ends."""
    words = [*FAST, *WORDS, "metrics=[density]", "steps=4", "eval_every=1"]
    found = iter(2 * (4.0, 1.0, 2.0, 3.0, 8.0, 7.0, 6.0, 5.0))
    monkeypatch.setattr(Monitor, "value", lambda *_: next(found))
    assert ebm("train", *words, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        at_step(patched, 7, lambda: signal.raise_signal(signal.SIGTERM))
        assert ebm("train", *words, "hydra.run.dir=half").code == 143
    assert ebm("train", "checkpoint=half").code == 0
    whole, half = (last(tmp_path / name, "best.pt") for name in ("whole", "half"))
    assert (whole["step"], whole["best"]) == (half["step"], half["best"]) == (2, 1.0)
    assert last(tmp_path / "whole")["best"] == last(tmp_path / "half")["best"] == 1.0
    assert list(found) == []
    assert differences(trained(tmp_path / "half"), trained(tmp_path / "whole")) == []


def test_a_run_whose_patience_ended_is_finished(ebm: Ebm, tmp_path: Path) -> None:
    """A rerun does not evaluate it again, and more steps polish for longer."""
    words = [*FAST, *WORDS, "steps=50", "eval_every=2", "patience=2", "optimizer.lr=1e-12", "polish.steps=2"]
    assert ebm("train", *words, "hydra.run.dir=run").code == 0
    skipped = status_of(tmp_path / "run")["skipped"]
    assert state_of(tmp_path / "run") == ("finished", 52 - skipped, 52)
    before = (tmp_path / "run" / "results.json").stat().st_mtime_ns
    ran = ebm("train", "checkpoint=run")
    assert ran.code == 0
    assert "nothing to do; to train it further, set steps > 50 (the further" in ran.out + ran.err
    assert (tmp_path / "run" / "results.json").stat().st_mtime_ns == before
    assert ebm("train", "checkpoint=run", "steps=51").code == 0
    assert state_of(tmp_path / "run") == ("finished", 53 - skipped, 53)


def test_time_that_ends_before_the_second_phase_is_said(ebm: Ebm, tmp_path: Path) -> None:
    words = [*FAST, *WORDS, "steps=3", "max_seconds=1e-9", "hydra.run.dir=run"]
    ran = ebm("train", *words)
    assert ran.code == 0
    said = "max_seconds=1e-09 ended training at step 0, before the second phase, polish: raise it and continue"
    assert said in " ".join(ran.out.replace("│", "").split())
    assert status_of(tmp_path / "run")["reason"].startswith(said)
    assert json.loads((tmp_path / "run" / "results.json").read_text())["cost/polish_steps"] == 0
    assert ebm("train", "checkpoint=run", "max_seconds=null").code == 0
    assert status_of(tmp_path / "run")["reason"] is None
    assert json.loads((tmp_path / "run" / "results.json").read_text())["cost/polish_steps"] == 4


@pytest.mark.slow
def test_log_z_of_the_second_phase_is_reported(ebm: Ebm, tmp_path: Path) -> None:
    """Witnesses have learned it, for a run and an evaluation of it; weights of the first phase have none."""
    words = [*FAST, "method=sm", "steps=3", "polish=jarzynski", "polish.steps=3", "sampler.step_size=0.01"]
    words += ["metrics=[density]", "polish.method.witnesses=64", "polish.method.buffer_size=64", "checkpoint_every=3"]
    assert ebm("train", *words, "keep=9", "hydra.run.dir=run").code == 0
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert "eval/log_z_learned" in found
    for name, has in (("last.pt", True), ("step-00000003.pt", False)):
        file = f"checkpoint=run/checkpoints/{name}"
        sizes = [word for word in words if word.startswith("eval.")]
        assert ebm("evaluate", file, *sizes, "metrics=[density]", f"hydra.run.dir={name}").code == 0
        again = json.loads((tmp_path / name / "results.json").read_text())
        assert again.get("eval/log_z_learned") == (found["eval/log_z_learned"] if has else None)


def test_polish_is_refused_by_one_line(ebm: Ebm) -> None:
    ran = ebm("train", *FAST, "method=nce", "polish=nce")
    assert ran.code == 1
    assert ran.err == (
        "ebm: polish must be null with method=nce: it mends what sm, ssm and dsm leave wrong, the weights of modes\n"
    )
