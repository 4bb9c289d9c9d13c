"""Runs on processes that something else has started: by their variables, and by torchrun."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import FAST, REPO, differences, last, state_of, trained

pytestmark = pytest.mark.slow
WORDS = [*FAST, "method=pcd", "method.buffer_size=64", "method.k=2", "threads=1"]
LONG = [*WORDS, "steps=1000000", "checkpoint_every=20", "log_every=1000000"]
ENV = "parallel.ranks=env"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Started:
    """Processes of one command in a folder, with the variables of torchrun."""

    def __init__(
        self, folder: Path, *words: str, size: int = 2, others: dict[str, str] | None = None, verb: str = "train"
    ) -> None:
        self.folder = folder
        meet = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        self.processes = []
        for index in range(size):
            own = {"RANK": str(index), "LOCAL_RANK": str(index), **((others or {}) if index else {})}
            self.processes.append(command(folder, [sys.executable, "-m", "ebm_cli", verb, *words], meet | own))

    def await_checkpoint(self, run: str) -> None:
        end = time.monotonic() + 120
        while not (self.folder / run / "checkpoints" / "last.pt").is_file():
            assert time.monotonic() < end, "no checkpoint"
            time.sleep(0.1)

    def ended(self, timeout: float = 120) -> tuple[list[int], list[str]]:
        """Exit codes, and what each printed to its standard error."""
        errors = [process.communicate(timeout=timeout)[1] for process in self.processes]
        return [process.returncode for process in self.processes], errors


def command(folder: Path, words: list[str], variables: dict[str, str]) -> "subprocess.Popen[str]":
    env = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", **variables}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=pipe, text=True)


def test_started_processes_train_the_run_that_ranks_do(tmp_path: Path) -> None:
    assert Started(tmp_path, *WORDS, "steps=6", ENV, "hydra.run.dir=a").ended() == ([0, 0], ["", ""])
    own = command(
        tmp_path,
        [sys.executable, "-m", "ebm_cli", "train", *WORDS, "steps=6", "parallel.ranks=2", "hydra.run.dir=b"],
        {},
    )
    assert own.communicate(timeout=120)[1] == ""
    assert differences(trained(tmp_path / "a"), trained(tmp_path / "b")) == []
    assert last(tmp_path / "a")["config"]["parallel"] == {"ranks": 2}
    # A finished run, and a mistake: the first process says it, and all end.
    codes, errors = Started(tmp_path, *WORDS, "steps=6", ENV, "hydra.run.dir=a").ended()
    assert (codes, errors[1]) == ([0, 0], "")
    assert "finished at step 6, nothing to do" in errors[0]
    codes, errors = Started(tmp_path, *WORDS, "steps=0", ENV, "hydra.run.dir=c").ended()
    assert (codes, errors[0].count("\n"), errors[1]) == ([1, 1], 1, "")
    assert "steps must be >= 1" in errors[0]


def test_started_processes_evaluate_as_ranks_do(tmp_path: Path) -> None:
    ebm = [sys.executable, "-m", "ebm_cli"]
    assert (
        command(tmp_path, [*ebm, "train", *WORDS, "steps=2", "hydra.run.dir=run"], {}).communicate(timeout=120)[1] == ""
    )
    budget = ["checkpoint=run", "metrics=[density]", "eval.n_chains=40", "eval.n_samples=40", "eval.base=gaussian"]
    budget += ["eval.n_temperatures=5", "threads=1"]
    assert Started(tmp_path, *budget, ENV, "hydra.run.dir=a", verb="evaluate").ended() == ([0, 0], ["", ""])
    own = command(tmp_path, [*ebm, "evaluate", *budget, "parallel.ranks=2", "hydra.run.dir=b"], {})
    assert own.communicate(timeout=120)[1] == ""
    a, b = (json.loads((tmp_path / name / "results.json").read_text()) for name in "ab")
    assert a == b
    assert "eval/log_z_se" in a


@pytest.mark.parametrize("index", [0, 1])
def test_killed_process_ends_the_others(tmp_path: Path, index: int) -> None:
    started = Started(tmp_path, *LONG, ENV, "hydra.run.dir=run")
    started.await_checkpoint("run")
    began = time.monotonic()
    started.processes[index].kill()
    codes, errors = started.ended()
    assert time.monotonic() - began < 30
    assert (codes[index], codes[1 - index]) == (-signal.SIGKILL, 1)
    survivor = errors[1 - index]
    assert survivor.startswith(f"ebm: rank {index} of the 2 processes, counted from 0, does not answer any more")
    assert survivor.count("\n") == 1
    assert "; ebm train checkpoint=run continues from the last checkpoint" in survivor
    if index:
        assert state_of(tmp_path / "run")[0] == "failed"
    assert last(tmp_path / "run")["step"] % 20 == 0


@pytest.mark.parametrize("index", [0, 1])
def test_process_that_stands_still_ends_the_others(tmp_path: Path, index: int) -> None:
    """As a machine that vanishes: no connection is closed."""
    started = Started(tmp_path, *LONG, ENV, "hydra.run.dir=run")
    started.await_checkpoint("run")
    began = time.monotonic()
    started.processes[index].send_signal(signal.SIGSTOP)
    other = started.processes[1 - index]
    errors = other.communicate(timeout=60)[1]
    assert time.monotonic() - began < 30
    assert other.returncode == 1
    assert errors.startswith(f"ebm: rank {index} of the 2 processes, counted from 0, does not answer any more")
    assert errors.count("\n") == 1
    started.processes[index].kill()
    started.ended()


def test_process_that_fails_is_named(tmp_path: Path) -> None:
    started = Started(tmp_path, *WORDS, "steps=5", ENV, "device=cpu", "hydra.run.dir=run", others={"WORLD_SIZE": "3"})
    codes, errors = started.ended()
    assert codes == [1, 1]
    assert "rank 1 was started as one of 3, and rank 0 as one of 2" in errors[0]
    assert errors[1] == ""


def test_torchrun_trains_and_its_end_leaves_a_checkpoint(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port()}"]
    run += ["-m", "ebm_cli", "train"]
    done = command(tmp_path, [*run, *WORDS, "steps=6", ENV, "hydra.run.dir=a"], {})
    done.communicate(timeout=120)
    assert done.returncode == 0
    assert state_of(tmp_path / "a") == ("finished", 6, 6)
    # Without the word each would train a run of its own.
    alone = command(tmp_path, [*run, *WORDS, "steps=6", "hydra.run.dir=b"], {})
    assert "torchrun has started 2 processes: add parallel.ranks=env" in alone.communicate(timeout=120)[1]
    ended = command(tmp_path, [*run, *LONG, ENV, "hydra.run.dir=c"], {})
    Started.await_checkpoint(Started(tmp_path, size=0), "c")
    ended.send_signal(signal.SIGTERM)
    ended.communicate(timeout=60)
    assert state_of(tmp_path / "c")[0] == "interrupted"
    assert last(tmp_path / "c")["step"] == state_of(tmp_path / "c")[1]
