"""Signals and kills at any time: every file that was written is whole, and the run resumes from its last checkpoint."""

import io
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, BinaryIO, NoReturn

import pytest
import torch
from omegaconf import OmegaConf

from ebm_cli.cli.main import main
from ebm_cli.reporting.jsonl import read as read_metrics
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.directory import RunDirectory
from ebm_cli.runs.status import read_status
from tests.support import CHEAP, FAST, FORKS, METHODS, Ebm, at_step, composed, differences, exit_code_of, last, trained


def state_of(run: Path) -> tuple[str, int]:
    status = read_status(run)
    assert status is not None
    return status["state"], status["step"]


# --- signals ----------------------------------------------------------------------------------------------------------

WORDS = [*FAST, "method=pcd", "method.buffer_size=64", "method.k=2", "steps=6"]


def test_launcher_gets_the_signal_after_the_checkpoint(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler of submitit puts the job back into the queue and exits; the queue then starts the command again."""
    run, found = tmp_path / "run", []

    def requeue(number: int, frame: FrameType | None) -> NoReturn:
        found.append((number, frame is not None, state_of(run), last(run)["step"]))
        RunDirectory(run).close()  # the directory is free for another process
        sys.exit(77)

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with monkeypatch.context() as patched:
            at_step(patched, 4, lambda: os.kill(os.getpid(), signal.SIGUSR2))
            assert ebm("train", *WORDS, "hydra.run.dir=run").code == 77
        assert signal.getsignal(signal.SIGUSR2) is requeue
        assert found == [(signal.SIGUSR2, True, ("interrupted", 4), 4)]
        assert ebm("train", *WORDS, "hydra.run.dir=run").code == 0
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert state_of(run) == ("finished", 6)
    assert ebm("train", *WORDS, "hydra.run.dir=whole").code == 0
    assert differences(trained(run), trained(tmp_path / "whole")) == []


def test_sigusr2_without_a_launcher_writes_a_checkpoint(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """test_resume.py tests the other signals."""
    at_step(monkeypatch, 4, lambda: os.kill(os.getpid(), signal.SIGUSR2))
    ran = ebm("train", *WORDS, "hydra.run.dir=run")
    assert (ran.code, ran.err) == (140, "ebm: interrupted by SIGUSR2 at step 4; a checkpoint was written\n")
    assert state_of(tmp_path / "run") == ("interrupted", 4)
    assert last(tmp_path / "run")["step"] == 4


def test_run_ends_although_the_handler_of_a_signal_returns(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler of submitit for SIGTERM only records it."""
    recorded: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: recorded.append(number))
    try:
        at_step(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm("train", *WORDS, "hydra.run.dir=run").code == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert recorded == [signal.SIGTERM]
    assert state_of(tmp_path / "run") == ("interrupted", 2)


# --- SIGKILL ----------------------------------------------------------------------------------------------------------

VARIANTS = {method: [f"method={method}"] for method in METHODS} | {
    "nce of a flow": ["method=nce", "noise=flow", "schedule=cosine"],
    "cd by hmc": ["method=cd", "sampler=hmc", "optimizer=adamw"],
    "pcd with weights": ["method=pcd", "method.weights=jarzynski", "method.witnesses=16"],
    "sm and polish": ["method=sm", "polish=nce", "polish.steps=8"],
    "mle": ["method=mle", "dataset.density.dim=2"],  # its log Z is computed on a grid
}
"""Words for every part of the state of a run; average, schedule, data order and generators are common to all."""


def words_of(name: str, steps: int, run: str) -> list[str]:
    """A cheap run that writes a checkpoint at every third step, and evaluates itself in between."""
    cfg = composed(VARIANTS[name][0])
    cheap = [f"{key}={value}" for key, value in CHEAP.items() if OmegaConf.select(cfg, key) is not None]
    often = ["checkpoint_every=3", "eval_every=7", "keep=2", "ema=0.9", "optimizer.lr=0.01"]
    first = steps - 8 if "polish.steps=8" in VARIANTS[name] else steps
    return [*FAST, *VARIANTS[name], *cheap, *often, f"steps={first}", f"hydra.run.dir={run}"]


@cache
def warm_up() -> None:
    """Import every module of a run before a fork, without starting threads, which a fork would lack."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        assert main(["train", *words_of("pcd", 1, f"{folder}/run")]) == 0


def fork_train(words: list[str], prepare: Callable[[], None] = lambda: None) -> int:
    """Run `ebm train` in a forked process that has imported everything already; its process id."""
    warm_up()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            prepare()
            code = main(["train", *words])
        finally:
            os._exit(code)
    return child


def kill_after(words: list[str], seconds: float) -> int | None:
    """Kill a run after so many seconds; its exit code if it had ended before, else None."""
    child = fork_train(words)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(min(0.002, max(0.0, deadline - time.monotonic())))
    os.kill(child, signal.SIGKILL)
    code = exit_code_of(child)
    return None if code == -signal.SIGKILL else code


def assert_sound(run: Path) -> int:
    """Every file of a run is whole, and no step is logged twice; returns the step of the last checkpoint."""
    reached = 0
    for file in (run / "checkpoints").glob("*.pt") if (run / "checkpoints").is_dir() else ():
        step = int(checkpoints.read(file)["step"])
        reached = max(reached, step) if file.name == "last.pt" else reached
    if (run / "status.json").exists():
        assert read_status(run) is not None
    if (run / "config.yaml").exists():
        assert OmegaConf.load(run / "config.yaml").steps > 0
    if (run / "metrics.jsonl").exists():
        steps = [row["step"] for row in read_metrics(run / "metrics.jsonl")]
        assert steps == sorted(set(steps))
    return reached


def kill_and_resume(name: str, folder: Path, steps: int, kills: int, rng: random.Random) -> None:
    """Kill a run `kills` times or more at random moments, resume it each time; it equals an undisturbed run."""
    run, words = folder / "killed", words_of(name, steps, str(folder / "killed"))
    whole = words_of(name, steps, str(folder / "whole"))
    began = time.monotonic()
    assert exit_code_of(fork_train(whole)) == 0
    length = time.monotonic() - began
    n_killed, reached, tries = 0, 0, 0
    while n_killed < kills:
        tries += 1
        # A run that resumes near its end needs less time than the whole run.
        code = kill_after(words, rng.uniform(0.0, length))
        assert code in (None, 0)
        now = assert_sound(run)
        assert now >= reached, "a checkpoint was lost"
        reached = now
        if code is None:
            n_killed += 1
        else:
            # The run had finished before the kill: start a new one, and kill earlier from now on.
            length *= 0.8
            assert_equal_runs(run, folder / "whole", steps)
            shutil.rmtree(run)
            reached = 0
        assert tries < 5 * kills + 10
    assert exit_code_of(fork_train(words)) == 0
    assert_equal_runs(run, folder / "whole", steps)


def assert_equal_runs(run: Path, whole: Path, steps: int) -> None:
    """Both runs ended with the same bits."""
    assert state_of(run) == state_of(whole) == ("finished", steps)
    assert differences(trained(run), trained(whole)) == []
    assert differences(trained(run, "best.pt"), trained(whole, "best.pt")) == []
    assert not list(run.rglob("*.tmp"))
    results = [json.loads((path / "results.json").read_text()) for path in (run, whole)]
    costs = {"cost/seconds", "cost/eval_seconds", "cost/peak_memory_mb"}
    assert {key: value for key, value in results[0].items() if key not in costs} == {
        key: value for key, value in results[1].items() if key not in costs
    }
    rows = [read_metrics(path / "metrics.jsonl") for path in (run, whole)]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]] == list(range(1, steps + 1))


@FORKS
def test_killed_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    kill_and_resume("pcd", tmp_path, steps=20, kills=3, rng=random.Random(0))


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_a_checkpoint(number: int) -> None:
    """Have this process killed when half of its `number`-th checkpoint is written."""
    save, calls = torch.save, []

    def half(state: Any, file: BinaryIO) -> None:
        calls.append(number)
        whole = io.BytesIO()
        save(state, whole)
        if len(calls) == number:
            file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
            file.flush()
            kill_myself()
        file.write(whole.getvalue())

    torch.save = half


def kill_at_a_rename(number: int) -> None:
    """Have this process killed at its `number`-th rename: before it if the number is even, after it if it is odd."""
    replace, calls = Path.replace, []

    def replace_and_die(path: Path, target: Path) -> Path:
        calls.append(number)
        if len(calls) == number and number % 2 == 0:
            kill_myself()
        replaced = replace(path, target)
        if len(calls) == number:
            kill_myself()
        return replaced

    Path.replace = replace_and_die  # type: ignore[method-assign, assignment]


@pytest.mark.slow
@FORKS
def test_run_killed_during_a_write_keeps_the_earlier_checkpoint(tmp_path: Path) -> None:
    words, run = words_of("cd", 10, str(tmp_path / "run")), tmp_path / "run"
    assert exit_code_of(fork_train(words_of("cd", 10, str(tmp_path / "whole")))) == 0
    for number, step in ((1, 0), (2, 3), (3, 6)):  # checkpoints of steps 3; 3 and 6; then 6, the best at 7, and 9
        assert exit_code_of(fork_train(words, lambda n=number: kill_in_a_checkpoint(n))) == -signal.SIGKILL
        assert len(list(run.rglob("*.tmp"))) == 1
        assert assert_sound(run) == step
    assert exit_code_of(fork_train(words)) == 0
    assert_equal_runs(run, tmp_path / "whole", 10)


@FORKS
@pytest.mark.slow
def test_run_survives_a_kill_at_each_of_its_renames(tmp_path: Path) -> None:
    """Killed at its first rename, then resumed and killed at its second, and so on until it finishes."""
    words, run = words_of("fce", 10, str(tmp_path / "run")), tmp_path / "run"
    assert exit_code_of(fork_train(words_of("fce", 10, str(tmp_path / "whole")))) == 0
    number, code, reached = 1, -signal.SIGKILL, 0
    while code == -signal.SIGKILL:
        code = exit_code_of(fork_train(words, lambda n=number: kill_at_a_rename(n)))
        now = assert_sound(run)
        assert now >= reached
        number, reached = number + 1, now
    assert code == 0
    assert number > 8
    assert_equal_runs(run, tmp_path / "whole", 10)


@FORKS
def test_one_of_two_runs_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    """Two seeds start at once in one directory; only the run that is not refused writes there."""
    run = tmp_path / "run"
    words = [*FAST, "steps=2000000", "log_every=1000", f"hydra.run.dir={run}"]
    children = {fork_train([*words, f"seed={seed}"]): seed for seed in (1, 2)}
    try:
        ended = (0, 0)
        while not ended[0]:
            time.sleep(0.01)
            ended = max(os.waitpid(child, os.WNOHANG) for child in children)
        children.pop(ended[0])
        assert os.waitstatus_to_exitcode(ended[1]) == 1
        (seed,) = children.values()
        deadline = time.monotonic() + 60
        while not (run / "config.yaml").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert OmegaConf.load(run / "config.yaml").seed == seed
    assert f"seed={seed}" in OmegaConf.load(run / ".hydra" / "overrides.yaml")


@FORKS
@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_method_survives_fifty_kills(tmp_path: Path, name: str) -> None:
    kill_and_resume(name, tmp_path, steps=60, kills=50, rng=random.Random(name))
