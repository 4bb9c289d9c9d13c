"""Sweeps in the queue of a real Slurm of one node, which `cluster.sh` starts on this machine: `make test-slurm`.

A run is compared with the same run outside of the queue, bit for bit.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.runs import checkpoint as checkpoints
from tests.support import REPO, differences

pytestmark = pytest.mark.slurm

WORDS = ("dataset=gaussian", "energy.width=8", "batch_size=16", "metrics=[score]", "threads=1", "compile=never")
WORDS += ("checkpoint_every=50", "log_every=50")
LONG = (*WORDS, "steps=4000")
"""Seconds of training, so that a run which is held at its first checkpoint is far from its end."""
QUEUE = ("hydra/launcher=slurm",)
PATIENCE = 600
"""Seconds in which something has to happen, also where the cores are so busy that imports take minutes."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of commands that use the cluster; skips with the reason where there is none."""
    pytest.importorskip("submitit", reason="needs pip install 'ebm-cli[slurm]'")
    folder = tmp_path_factory.mktemp("cluster")
    script = [str(REPO / "tests" / "slurm" / "cluster.sh")]
    started = subprocess.run([*script, "start", str(folder)], capture_output=True, text=True, timeout=300)
    if started.returncode:
        pytest.skip(f"no Slurm here: {started.stderr.strip()[-300:]}")
    try:
        yield os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PYTHONPATH": str(REPO),
            "OMP_NUM_THREADS": "1",
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
        }
    finally:
        subprocess.run([*script, "stop", str(folder)], check=False)


class Cluster:
    """Commands in a folder, on the cluster."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.started: list[subprocess.Popen[str]] = []

    def ebm(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ebm_cli", "train", *words]
        pipe = subprocess.PIPE
        found = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe, text=True)
        self.started.append(found)
        return found

    def slurm(self, *words: str) -> str:
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    def queued(self) -> list[str]:
        """The jobs that wait or run."""
        return self.slurm("squeue", "--noheader", "--format=%A").split()

    def state(self, run: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / run / "status.json").read_text())
        except (OSError, ValueError):
            return {"state": "none", "step": 0}
        return found

    def last(self, run: str) -> dict[str, Any]:
        """The training in the last checkpoint of a run."""
        state, others = (
            checkpoints.read(self.folder / run / "checkpoints" / "last.pt"),
            ("config", "seconds", "versions"),
        )
        return {key: value for key, value in state.items() if key not in others}

    def hold(self, run: str) -> None:
        """Stop the process of a run as soon as there is a checkpoint: meanwhile it neither ends nor makes a step."""
        until((self.folder / run / "checkpoints" / "last.pt").is_file)
        os.kill(self.state(run)["pid"], signal.SIGSTOP)
        assert self.state(run)["state"] == "running"

    def close(self) -> None:
        """End the commands that still run."""
        for command in self.started:
            command.kill()
            command.communicate()

    def output(self) -> str:
        """The output of the jobs of a sweep, also of those that have ended."""
        return "".join(path.read_text() for path in sorted((self.folder / "s" / ".submitit").glob("*/*_log.*")))

    def log(self, run: str) -> str:
        return (self.folder / run / "train.log").read_text()


def until(happened: Callable[[], bool]) -> None:
    """Wait."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def ended(command: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code of a command, and its errors."""
    _, errors = command.communicate(timeout=PATIENCE)
    return command.returncode, "\n".join(line for line in errors.splitlines() if line.startswith("ebm: "))


@pytest.fixture
def cluster(tmp_path: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    found = Cluster(tmp_path, environment)
    yield found
    found.close()
    for job in found.queued():
        found.slurm("scancel", job)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> dict[str, Any]:
    """The training of the long run outside of the queue."""
    found = Cluster(tmp_path_factory.mktemp("whole"), environment)
    try:
        assert ended(found.ebm(*LONG, "seed=1", "hydra.run.dir=run")) == (0, "")
        return found.last("run")
    finally:
        found.close()


def test_sweep_of_four_jobs_runs(cluster: Cluster) -> None:
    sweep = cluster.ebm("-m", *WORDS, "steps=20", "seed=1,2,3,4", *QUEUE, "hydra.sweep.dir=s")
    assert ended(sweep) == (0, "")
    assert [cluster.state(f"s/{i}")["state"] for i in range(4)] == ["finished"] * 4


def test_preempted_job_is_requeued_and_continues(cluster: Cluster, whole: dict[str, Any]) -> None:
    """SIGUSR2, as before a preemption: checkpoint, back into the queue, on in the same directory, bit for bit."""
    sweep = cluster.ebm("-m", *LONG, "seed=1", *QUEUE, "hydra.sweep.dir=s")
    cluster.hold("s/0")
    cluster.slurm("scancel", "--signal=USR2", *cluster.queued())
    os.kill(cluster.state("s/0")["pid"], signal.SIGCONT)
    assert ended(sweep) == (0, "")
    log = cluster.log("s/0")
    assert "interrupted by SIGUSR2" in log
    assert "the launcher's handler has taken over" in log
    assert "Traceback" not in log
    assert differences(cluster.last("s/0"), whole) == []


def test_job_whose_time_is_over_says_what_to_do(cluster: Cluster) -> None:
    """With `max_num_timeout=0`, which is submitit's own default: the signal comes at once in a job of one minute."""
    words = ("hydra.launcher.timeout_min=1", "hydra.launcher.max_num_timeout=0")
    code, errors = ended(cluster.ebm("-m", *LONG, "steps=100000", "seed=1", *QUEUE, *words, "hydra.sweep.dir=s"))
    assert code == 1
    assert "hydra.launcher.max_num_timeout" in errors
    assert "UncompletedJobError" not in errors
    assert "Traceback" not in cluster.log("s/0")


def test_node_that_goes_down_loses_nothing_but_steps(cluster: Cluster, whole: dict[str, Any]) -> None:
    """Killed without a signal, requeued by Slurm when the node is up again, and continued bit for bit."""
    sweep = cluster.ebm("-m", *LONG, "seed=1", *QUEUE, "hydra.sweep.dir=s")
    cluster.hold("s/0")  # it gets no chance to write another checkpoint
    node = cluster.slurm("sinfo", "--noheader", "--format=%n").strip()
    cluster.slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    os.kill(cluster.state("s/0")["pid"], signal.SIGKILL)
    cluster.slurm("scontrol", "update", f"nodename={node}", "state=resume")
    assert ended(sweep) == (0, "")
    assert differences(cluster.last("s/0"), whole) == []


def test_cancelled_sweep_is_continued_by_the_same_command(cluster: Cluster, whole: dict[str, Any]) -> None:
    words = ("-m", *LONG, "seed=1,2", *QUEUE, "hydra.sweep.dir=s")
    cluster.ebm(*words)
    cluster.hold("s/0")
    cluster.hold("s/1")
    cluster.slurm("scancel", *cluster.queued())
    until(lambda: not cluster.queued())
    assert cluster.output().count("interrupted by SIGTERM") == 2
    assert "Traceback" not in cluster.output()
    assert [cluster.state(f"s/{i}")["state"] for i in range(2)] == ["interrupted"] * 2
    cluster.started[0].kill()
    assert ended(cluster.ebm(*words)) == (0, "")
    assert differences(cluster.last("s/0"), whole) == []


def test_missing_slurm_is_said_in_one_line(cluster: Cluster) -> None:
    here = str(Path(sys.executable).parent)
    assert shutil.which("sbatch", path=here) is None
    without = Cluster(cluster.folder, cluster.environment | {"PATH": here})
    code, errors = ended(without.ebm("-m", *WORDS, "seed=1,2", *QUEUE, "hydra.sweep.dir=s"))
    assert (code, len(errors.splitlines()), "no sbatch" in errors) == (1, 1, True)


ENV = "parallel.ranks=env"


def job_of(cluster: Cluster, name: str, words: Sequence[str], then: str = "") -> str:
    """Queue a script of two tasks that runs `ebm train WORDS`; returns its number."""
    line = shlex.join([sys.executable, "-m", "ebm_cli", "train", *words])
    script = f"#!/bin/bash\nsrun {line}\n{then}\n"
    (cluster.folder / f"{name}.sh").write_text(script)
    options = [f"--chdir={cluster.folder}", f"--output={cluster.folder / name}.out", "--open-mode=append", "--requeue"]
    words = ["sbatch", "--parsable", "--ntasks=2", *options, str(cluster.folder / f"{name}.sh")]
    return cluster.slurm(*words).strip()


def test_tasks_of_srun_train_the_run_that_ranks_do(cluster: Cluster) -> None:
    """A signal before its end, back into the queue, on in the same directory: the bits of a run of two processes."""
    job = job_of(
        cluster, "job", [*LONG, "seed=1", ENV, "hydra.run.dir=a"], '[ $? = 140 ] && scontrol requeue "$SLURM_JOB_ID"'
    )
    until(lambda: (cluster.folder / "a" / "checkpoints" / "last.pt").is_file())
    cluster.slurm("scancel", "--signal=USR2", job)
    until(lambda: cluster.state("a")["state"] == "interrupted")
    until(lambda: cluster.state("a")["state"] == "finished")
    assert ended(cluster.ebm(*LONG, "seed=1", "parallel.ranks=2", "hydra.run.dir=b")) == (0, "")
    assert differences(cluster.last("a"), cluster.last("b")) == []
    assert cluster.log("a").count("interrupted by SIGUSR2") == 1
    printed = (cluster.folder / "job.out").read_text()
    assert "Traceback" not in printed


def test_killed_task_ends_the_others(cluster: Cluster) -> None:
    job_of(cluster, "job", [*LONG, "steps=1000000", ENV, "hydra.run.dir=a"])
    until(lambda: (cluster.folder / "a" / "checkpoints" / "last.pt").is_file())
    os.kill(task_of(cluster, 1), signal.SIGKILL)
    until(lambda: not cluster.queued())
    assert cluster.state("a")["state"] == "failed"
    printed = (cluster.folder / "job.out").read_text()
    assert printed.count("ebm: rank 1 of the 2 processes, counted from 0, does not answer any more") == 1


def task_of(cluster: Cluster, index: int) -> int:
    """The process of a task."""
    own = {f"SLURM_PROCID={index}".encode(), f"SLURM_CONF={cluster.environment['SLURM_CONF']}".encode()}
    found = subprocess.run(["pgrep", "-f", f"ebm_cli train.*{ENV}"], capture_output=True, text=True, check=True)
    pids = [pid for pid in found.stdout.split() if own <= set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))]
    return int(pids[0])


def test_script_without_srun_is_told_to_use_it(cluster: Cluster) -> None:
    line = shlex.join([sys.executable, "-m", "ebm_cli", "train", *WORDS, ENV])
    options = [f"--chdir={cluster.folder}", f"--output={cluster.folder}/out", "--ntasks=2"]
    cluster.slurm("sbatch", *options, f"--wrap={line}")
    until(lambda: not cluster.queued())
    assert "write srun before the command" in (cluster.folder / "out").read_text()
