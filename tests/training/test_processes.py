"""Runs of several processes by the command: started, interrupted, killed, resumed."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from ebm_cli.training import processes
from ebm_cli.training.history import MAX_ROLLBACKS, RATE_FACTOR
from ebm_cli.training.processes import Crew
from tests.support import FAST, Ebm, at_step, differences, last, no_pictures, state_of, status_of, trained

pytestmark = pytest.mark.slow
WORDS = [*FAST, "method=pcd", "method.buffer_size=64", "method.k=2", "steps=8", "parallel.ranks=2"]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


@pytest.fixture
def crews(monkeypatch: pytest.MonkeyPatch) -> list[Crew]:
    """The crews that runs have had, in their order."""
    found: list[Crew] = []

    class Seen(Crew):
        def __enter__(self) -> "Seen":
            found.append(self)
            super().__enter__()
            return self

    monkeypatch.setattr(processes, "Crew", Seen)
    return found


def test_terminated_run_of_two_resumes_to_the_same_end(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crews: list[Crew]
) -> None:
    assert ebm("train", *WORDS, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        # Asked after every step: eight fast ones are over before the first question otherwise.
        patched.setattr("ebm_cli.training.common_stop.INTERVAL", 0.0)
        at_step(patched, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        ran = ebm("train", *WORDS, "hydra.run.dir=half")
    assert ran.code == 143
    assert "interrupted by SIGTERM at step" in ran.err
    half, whole = tmp_path / "half", tmp_path / "whole"
    step = last(half)["step"]
    assert 4 <= step < 8
    ran = ebm("train", "checkpoint=half")
    assert (ran.code, ran.err) == (0, "")
    assert "random numbers from here on are others" not in ran.out
    assert state_of(half) == ("finished", 8, 8)
    assert differences(trained(half), trained(whole)) == []
    assert last(whole)["method"]["buffer"].shape[0] == 64
    # Of the interrupted run they may be ended before they have.
    assert [process.returncode for crew in (crews[0], crews[2]) for process in crew._others] == [0, 0]
    # On another number of processes.
    ran = ebm("train", "checkpoint=half", "steps=10", "parallel.ranks=1")
    assert ran.code == 0
    assert "resumed on 1 process, before on 2" in ran.out.replace("\n", " ")
    assert "ranks" not in last(half)


def test_killed_rank_ends_the_run(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crews: list[Crew]) -> None:
    killed: list[float] = []

    def kill() -> None:
        killed.append(time.monotonic())
        crews[-1]._others[0].kill()

    at_step(monkeypatch, 5, kill)
    ran = ebm("train", *WORDS, "steps=100000", "checkpoint_every=2", "hydra.run.dir=run")
    assert ran.code == 1
    assert time.monotonic() - killed[0] < 30
    assert ran.err == (
        "ebm: rank 1 of the 2 processes, counted from 0, was killed by SIGKILL; ebm train checkpoint=run continues "
        "from the last checkpoint\n"
    )
    assert state_of(tmp_path / "run")[0] == "failed"
    assert last(tmp_path / "run")["step"] == 4
    assert not crews[-1]._folder.exists()


def test_rank_killed_in_the_evaluation_ends_it(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crews: list[Crew]
) -> None:
    killed: list[float] = []

    def kill_and_wait(*args: object) -> None:
        killed.append(time.monotonic())
        crews[-1]._others[0].kill()
        time.sleep(40)

    monkeypatch.setattr("ebm_cli.training.finish.suite.evaluate", kill_and_wait)
    ran = ebm("train", *WORDS, "hydra.run.dir=run")
    assert "was killed by SIGKILL" in ran.err
    assert time.monotonic() - killed[0] < 30
    assert last(tmp_path / "run")["step"] == 8


def test_evaluation_by_two_has_the_bits_of_their_run(ebm: Ebm, tmp_path: Path) -> None:
    """Results of rank 0 alone are those of all chains, too."""
    budget = ["metrics=[density,samples,chains]", "eval.n_chains=40", "eval.n_samples=80", "eval.burn_in=4"]
    budget += ["eval.n_temperatures=20", "eval.base=gaussian"]
    words = [word for word in WORDS if not word.startswith("metrics=")]
    words += ["method.weights=jarzynski", "method.witnesses=20"]
    assert ebm("train", *words, *budget, "hydra.run.dir=run").code in (0, 4)
    found = {}
    for name, ranks in (("two", "2"), ("one", "1")):
        assert ebm("evaluate", "checkpoint=run", *budget, f"parallel.ranks={ranks}", f"hydra.run.dir={name}").code in (
            0,
            4,
        )
        found[name] = results_of(tmp_path / name)
    assert found["two"] == {key: value for key, value in results_of(tmp_path / "run").items() if key in found["two"]}
    whole = {"eval/log_z", "eval/mmd", "sampler/acceptance", "eval/chain_temperature", "eval/log_z_learned"}
    assert whole <= found["two"].keys()
    # The control: random numbers are those of two processes.
    assert found["one"]["eval/log_z"] != found["two"]["eval/log_z"]


def results_of(run: Path) -> dict[str, object]:
    """The results of an evaluation but its times."""
    results = json.loads((run / "results.json").read_text())
    return {key: value for key, value in results.items() if not key.startswith(("cost/", "sampler/ess_per_second"))}


def test_patience_of_two_ends_with_the_chains_of_the_best_step(ebm: Ebm, tmp_path: Path) -> None:
    words = ["eval_every=2", "patience=2", "monitor=eval/fisher"]
    assert ebm("train", *WORDS, *words, "hydra.run.dir=run").code == 0
    assert state_of(tmp_path / "run")[0] == "finished"


def test_rank_killed_while_a_model_is_evaluated_ends_it(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crews: list[Crew]
) -> None:
    assert ebm("train", *FAST, "method=nce", "steps=2", "hydra.run.dir=run").code == 0

    def kill_and_wait(*args: object) -> None:
        crews[-1]._others[0].kill()
        time.sleep(40)

    monkeypatch.setattr("ebm_cli.commands.evaluate.suite.evaluate", kill_and_wait)
    ran = ebm("evaluate", "checkpoint=run", "parallel.ranks=2", "hydra.run.dir=found")
    assert ran.code == 1
    assert ran.err == "ebm: rank 1 of the 2 processes, counted from 0, was killed by SIGKILL\n"
    assert not (tmp_path / "found" / "results.json").exists()


def test_error_of_a_rank_is_the_run_s(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Crew._start

    def broken(crew: Crew, index: int) -> object:
        crew._cfg = crew._cfg.copy()
        crew._cfg.batch_size = 15
        return start(crew, index)

    monkeypatch.setattr(Crew, "_start", broken)
    ran = ebm("train", *WORDS, "hydra.run.dir=run")
    assert ran.code == 1
    assert "rank 1 of the 2 processes, counted from 0, failed: UserError: batch_size must be a multiple" in ran.err


def test_diverged_run_of_two_returns_and_finishes(ebm: Ebm, tmp_path: Path) -> None:
    """Both processes return to the same checkpoint, with the same lower rate, and to the same weights.

    The second one's weights show in the steps that follow: where the run resumes, it reads them anew.
    """
    words = [*FAST, "method=nce", "energy.width=128", "optimizer.lr=10", "schedule=constant", "dataset=eight_gaussians"]
    words = [word for word in words if word not in ("dataset=gaussian", "dataset.density.dim=3", "energy.width=8")]
    words += [
        "steps=40",
        "log_every=10",
        "checkpoint_every=10",
        "eval_every=null",
        "guard=rollback",
        "parallel.ranks=2",
    ]
    ran = ebm("train", *words, "hydra.run.dir=run")
    assert ran.code == 0
    assert state_of(tmp_path / "run") == ("finished", 40, 40)
    state, history = last(tmp_path / "run"), status_of(tmp_path / "run")["rollbacks"]
    assert 1 <= len(history) <= MAX_ROLLBACKS
    assert state["rollbacks"] == history
    [group] = state["optimizers"]["energy"]["param_groups"]
    assert group["lr"] == pytest.approx(10 * RATE_FACTOR ** len(history))
    # Each has random numbers of its own after it, too.
    one, other = (mine["rng"] for mine in state["ranks"])
    assert not torch.equal(one, other)
    assert ebm("train", *words, "steps=50", "hydra.run.dir=longer").code == 0
    assert status_of(tmp_path / "longer")["rollbacks"] == history
    assert ebm("train", "checkpoint=run", "steps=50").code == 0
    assert differences(trained(tmp_path / "run"), trained(tmp_path / "longer")) == []
