"""`ebm train replicas=R`: the runs of a sweep over seeds, trained together."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.methods.base import LossOutput
from ebm_cli.replicas.evaluators import Evaluators
from ebm_cli.runs.record import read
from ebm_cli.training.guard import Diverged
from ebm_cli.training.trainer import Trainer
from tests.reporting.test_tensorboard import read_events
from tests.support import FAST, TINY, Ebm, differences, last, no_pictures, state_of

WORDS = (*FAST, "energy=mlp", "method=nce", "checkpoint_every=4", "eval_every=3")


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def near(a: Path, b: Path) -> bool:
    """True if two runs have nearly the same weights, and the same config, random state and position in the data."""
    ours, theirs = last(a), last(b)
    for key in ("step", "rng", "dataset", "config"):
        assert differences(ours[key], theirs[key]) == [], key
    return all((ours["energy"][name] - value).norm() < 1e-4 * value.norm() for name, value in theirs["energy"].items())


def test_replicas_are_the_runs_of_a_sweep(ebm: Ebm, tmp_path: Path) -> None:
    assert ebm("train", "replicas=2", "seed=5", *WORDS, "steps=6", "hydra.sweep.dir=both").code == 0
    assert ebm("train", "-m", "seed=5,6", *WORDS, "steps=6", "hydra.sweep.dir=own").code == 0
    for job in ("0", "1"):
        ours, theirs = tmp_path / "both" / job, tmp_path / "own" / job
        assert near(ours, theirs)
        assert state_of(ours) == ("finished", 6, 6)
        events = {path.name for path in ours.iterdir() if "tfevents" not in path.name}
        assert events == {path.name for path in theirs.iterdir() if "tfevents" not in path.name}
        assert read(ours).results.keys() == read(theirs).results.keys()
        log = (ours / "train.log").read_text()
        assert log.count("ended after") == log.count(f"seed={5 + int(job)}") == 1
    # The control: a seed of the other directory is another run.
    assert (
        last(tmp_path / "both" / "0")["energy"]["network.0.weight"]
        .ne(last(tmp_path / "both" / "1")["energy"]["network.0.weight"])
        .all()
    )


def test_one_of_the_replicas_is_resumed_alone(ebm: Ebm, tmp_path: Path) -> None:
    assert ebm("train", "replicas=2", *WORDS, "schedule=constant", "steps=4", "hydra.sweep.dir=both").code == 0
    assert ebm("train", "seed=1", *WORDS, "schedule=constant", "steps=6", "hydra.run.dir=own").code == 0
    assert ebm("train", "checkpoint=both/1", "steps=6").code == 0
    ours, theirs = last(tmp_path / "both" / "1"), last(tmp_path / "own")
    assert differences(ours["rng"], theirs["rng"]) == []
    assert (ours["energy"]["network.0.weight"] - theirs["energy"]["network.0.weight"]).abs().max() < 1e-5


@pytest.mark.slow
def test_replicas_of_fce_are_the_runs_of_a_sweep(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With flows and turns in checkpoints and logs; stopped, continued, and evaluated by processes."""
    small = ("noise=flow", "noise.n_couplings=2", "noise.width=4", "batch_size=64", "metrics=[score]")
    words = (*TINY, "dataset=moons", "energy=mlp", "method=fce", *small, "method.turn_every=1", "optimizer.lr=0.05")
    words = (*words, "method.threshold=0.51", "steps=20", "log_every=1")
    conclude, interrupts = Trainer.conclude, [True]

    def interrupt(trainer: Trainer, out: LossOutput) -> None:
        conclude(trainer, out)
        if trainer.step == 9 and interrupts:
            interrupts.pop()
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "conclude", interrupt)
    assert ebm("train", "replicas=2", "jobs=2", *words, "hydra.sweep.dir=both").code == 130
    assert [state_of(tmp_path / "both" / job) for job in "01"] == [("interrupted", 9, 20)] * 2
    assert ebm("train", "replicas=2", "jobs=2", *words, "hydra.sweep.dir=both").code in (0, 4)
    assert ebm("train", "-m", "seed=0,1", *words, "hydra.sweep.dir=own").code in (0, 4)
    taken = []
    for job in ("0", "1"):
        ours, theirs = tmp_path / "both" / job, tmp_path / "own" / job
        assert near(ours, theirs)
        method, reference = last(ours)["method"], last(theirs)["method"]
        assert differences(method["_extra_state"], reference["_extra_state"]) == []
        assert differences(method["accuracy"], reference["accuracy"]) == []
        flow = [name for name in reference if name.startswith("flow.")]
        assert flow
        assert all((method[name] - reference[name]).norm() <= 1e-4 * reference[name].norm() for name in flow)
        assert read(ours).results.keys() == read(theirs).results.keys()
        turns, expected = (
            {scalar.step: scalar.value for scalar in read_events(run).Scalars("train/flow_turn")}
            for run in (ours, theirs)
        )
        assert turns == expected
        taken.append(turns)
    # There are steps in which the energy of one learns, and the flow of the other.
    assert taken[0] != taken[1]


@pytest.mark.slow
def test_processes_evaluate_replicas_to_the_same_bits(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a Ctrl-C while they do: the same command evaluates what was not."""
    words = ("replicas=3", *WORDS, "steps=6", "metrics=[score,samples]")
    assert ebm("train", *words, "hydra.sweep.dir=own").code in (0, 4)
    collect, interrupts = Evaluators.collect, [True]

    def interrupted(processes: Evaluators, *, waits: bool) -> Any:
        if waits and interrupts:
            interrupts.pop()
            os.kill(os.getpid(), signal.SIGINT)
        return collect(processes, waits=waits)

    monkeypatch.setattr(Evaluators, "collect", interrupted)
    ran = ebm("train", *words, "jobs=2", "hydra.sweep.dir=both")
    assert ran.code == 130
    assert "the same command" in ran.err
    assert [state_of(tmp_path / "both" / job) for job in "012"] == [("interrupted", 6, 6)] * 3
    assert ebm("train", *words, "jobs=2", "hydra.sweep.dir=both").code in (0, 4)
    assert interrupts == []
    for job in "012":
        ours, theirs = tmp_path / "both" / job, tmp_path / "own" / job
        assert _measured(ours) == _measured(theirs)
        assert state_of(ours) == ("finished", 6, 6)
        assert "evaluation: samples and their distances (2 of 2)" in (ours / "train.log").read_text()
    assert _measured(tmp_path / "both" / "0") != _measured(tmp_path / "both" / "1")


def _measured(run: Path) -> dict[str, Any]:
    """The results of a run but times and memory."""
    kept = ("eval/", "sampler/", "cost/grad_evals")
    return {k: v for k, v in read(run).results.items() if k.startswith(kept) and k != "sampler/ess_per_second"}


def test_replica_that_diverges_leaves_the_others(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conclude = Trainer.conclude

    def fail(trainer: Trainer, out: LossOutput) -> None:
        conclude(trainer, out)
        if trainer.step == 3 and trainer.rng.initial_seed() == other:
            trainer.guard._found = Diverged(3, "a test")

    other = _method_seed(1)
    monkeypatch.setattr(Trainer, "conclude", fail)
    ran = ebm("train", "replicas=2", *WORDS, "steps=4", "hydra.sweep.dir=both")
    assert ran.code == 3
    states = [state_of(tmp_path / "both" / job)[0] for job in "01"]
    assert states == ["finished", "diverged"]
    assert "seed=1" in ran.err


def _method_seed(seed: int) -> int:
    import torch

    from ebm_cli.rng import generator

    return generator(seed, "method", torch.device("cpu")).initial_seed()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["replicas=0"], "whole number"),
        (["replicas=two"], "whole number"),
        (["replicas=2", "seed=1,2"], "the first of the seeds"),
        (["replicas=2", "checkpoint=run"], "resumed alone"),
        (["replicas=2", "hydra.run.dir=run"], "hydra.sweep.dir=DIR"),
        (["replicas=2", "hydra/launcher=joblib"], "one process"),
        (["replicas=2", "jobs=0"], "jobs=0: the number of jobs at a time"),
        (["replicas=2", "jobs=1,2"], "one number of jobs at a time"),
        (["replicas=2", "energy=quadratic", "method=nce"], "energy=mlp"),
        (["replicas=2", "energy=mlp", "method=cd", "method.kl=0.5"], "method.kl=0.5"),
        (["replicas=2", "energy=mlp", "method=nce", "guard=rollback"], "guard=rollback"),
    ],
)
def test_what_replicas_cannot_do_is_refused(ebm: Ebm, tmp_path: Path, words: list[str], said: str) -> None:
    ran = ebm("train", *words)
    assert ran.code == 1
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_one_replica_is_a_plain_run(ebm: Ebm, tmp_path: Path) -> None:
    assert ebm("train", "replicas=1", *WORDS, "steps=2", "hydra.run.dir=run").code == 0
    assert state_of(tmp_path / "run") == ("finished", 2, 2)
