"""A run may be stopped anywhere and by anything: what it had written whole is there, and it goes on from that."""

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
from ebm_cli.runs.directory import RunDirectory, read_status
from tests.support import CHEAP, FAST, METHODS, Ebm, at_step, composed, differences, last, no_pictures, trained


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def state_of(run: Path) -> tuple[str, int]:
    status = read_status(run)
    assert status is not None
    return status["state"], status["step"]


FORKS = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
"""What pytest has running beside us does nothing that a child needs."""


# --- signals ----------------------------------------------------------------------------------------------------------

WORDS = [*FAST, "method=pcd", "method.buffer_size=64", "method.k=2", "steps=6"]


def test_a_launcher_is_handed_the_signal_behind_the_checkpoint(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As submitit does: its handler puts the job back into the queue and exits; the run is then begun again."""
    run, found = tmp_path / "run", []

    def requeue(number: int, frame: FrameType | None) -> NoReturn:
        found.append((number, frame is not None, state_of(run), last(run)["step"]))
        RunDirectory(run).close()  # another process may have it at once
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


def test_without_a_launcher_it_says_so_and_exits(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGUSR2 as the others, which test_resume.py sends."""
    at_step(monkeypatch, 4, lambda: os.kill(os.getpid(), signal.SIGUSR2))
    ran = ebm("train", *WORDS, "hydra.run.dir=run")
    assert (ran.code, ran.err) == (140, "ebm: interrupted by SIGUSR2 at step 4; a checkpoint was written\n")
    assert state_of(tmp_path / "run") == ("interrupted", 4)
    assert last(tmp_path / "run")["step"] == 4


def test_a_handler_that_returns_does_not_keep_the_run_going(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As submitit's for SIGTERM, which only notes it."""
    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: noted.append(number))
    try:
        at_step(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm("train", *WORDS, "hydra.run.dir=run").code == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert noted == [signal.SIGTERM]
    assert state_of(tmp_path / "run") == ("interrupted", 2)


# --- SIGKILL ----------------------------------------------------------------------------------------------------------

VARIANTS = {method: [f"method={method}"] for method in METHODS} | {
    "nce of a flow": ["method=nce", "noise=flow", "schedule=cosine"],
    "cd by hmc": ["method=cd", "sampler=hmc", "optimizer=adamw"],
    "mle": ["method=mle", "dataset.density.dim=2"],  # its log Z is a grid's
}
"""What a run is made of, apart from its method's own: EMA, schedule, data order and generators are every run's."""


def words_of(name: str, steps: int, run: str) -> list[str]:
    """A cheap run that writes a checkpoint at every third step, and looks at itself in between."""
    cfg = composed(VARIANTS[name][0])
    cheap = [f"{key}={value}" for key, value in CHEAP.items() if OmegaConf.select(cfg, key) is not None]
    often = ["checkpoint_every=3", "eval_every=7", "keep=2", "ema=0.9", "optimizer.lr=0.01"]
    return [*FAST, *VARIANTS[name], *cheap, *often, f"steps={steps}", f"hydra.run.dir={run}"]


@cache
def warm_up() -> None:
    """Import every module that a run does, so that a fork need not; with no threads, which a fork would lack."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        assert main(["train", *words_of("pcd", 1, f"{folder}/run")]) == 0


def forked(words: list[str], prepare: Callable[[], None] = lambda: None) -> int:
    """`ebm train` in a process of its own, which has imported everything already."""
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


def killed_after(words: list[str], seconds: float) -> int | None:
    """Let a run work for that long, and kill it; its exit code where it had ended before that."""
    child = forked(words)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, how = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(how)
        time.sleep(min(0.002, max(0.0, deadline - time.monotonic())))
    os.kill(child, signal.SIGKILL)
    _, how = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(how)
    return None if code == -signal.SIGKILL else code


def assert_sound(run: Path) -> int:
    """Every file that a reader may open is whole, and no step is told twice; the step of the last checkpoint."""
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


def kill_until_done(name: str, folder: Path, steps: int, kills: int, rng: random.Random) -> None:
    """Kill a run at random moments, `kills` times at least, and let it go on each time; compare with one left alone."""
    run, words = folder / "killed", words_of(name, steps, str(folder / "killed"))
    whole = words_of(name, steps, str(folder / "whole"))
    began = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(forked(whole), 0)[1]) == 0
    length = time.monotonic() - began
    done, reached, tries = 0, 0, 0
    while done < kills:
        tries += 1
        # A run that goes on from near its end has less time left than the first one had.
        code = killed_after(words, rng.uniform(0.0, length))
        assert code in (None, 0)
        now = assert_sound(run)
        assert now >= reached, "a checkpoint was lost"
        reached = now
        if code is None:
            done += 1
        else:
            # It was done before the kill: again from the start.
            compare(run, folder / "whole", steps)
            shutil.rmtree(run)
            reached = 0
        assert tries < 5 * kills + 10
    assert os.waitstatus_to_exitcode(os.waitpid(forked(words), 0)[1]) == 0
    compare(run, folder / "whole", steps)


def compare(run: Path, whole: Path, steps: int) -> None:
    """Both ended alike, to the last bit."""
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
def test_a_run_that_is_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    kill_until_done("pcd", tmp_path, steps=20, kills=3, rng=random.Random(0))


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_a_checkpoint(number: int) -> None:
    """Have this process killed when half of its checkpoint of that number is written."""
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
    """Have this process killed just before it gives a file its name for that many times, odd ones just behind it."""
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


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@FORKS
def test_a_run_that_is_killed_in_the_middle_of_a_write_has_what_it_had(tmp_path: Path) -> None:
    words, run = words_of("cd", 10, str(tmp_path / "run")), tmp_path / "run"
    assert ended(forked(words_of("cd", 10, str(tmp_path / "whole")))) == 0
    for number, step in ((1, 0), (2, 3), (3, 6)):  # of steps 3; 3 and 6; then 6, the best at 7, and 9
        assert ended(forked(words, lambda n=number: kill_in_a_checkpoint(n))) == -signal.SIGKILL
        assert len(list(run.rglob("*.tmp"))) == 1
        assert assert_sound(run) == step
    assert ended(forked(words)) == 0
    compare(run, tmp_path / "whole", 10)


@FORKS
@pytest.mark.slow
def test_a_run_may_be_killed_at_each_of_its_renames(tmp_path: Path) -> None:
    """Killed at its first, then from there at its second, and so on, until it ends."""
    words, run = words_of("fce", 10, str(tmp_path / "run")), tmp_path / "run"
    assert ended(forked(words_of("fce", 10, str(tmp_path / "whole")))) == 0
    number, code, reached = 1, -signal.SIGKILL, 0
    while code == -signal.SIGKILL:
        code = ended(forked(words, lambda n=number: kill_at_a_rename(n)))
        now = assert_sound(run)
        assert now >= reached
        number, reached = number + 1, now
    assert code == 0
    assert number > 8
    compare(run, tmp_path / "whole", 10)


@FORKS
def test_of_two_that_start_at_once_one_is_refused(tmp_path: Path) -> None:
    """Of two seeds in one directory; what is written there is the other one's alone."""
    run = tmp_path / "run"
    words = [*FAST, "steps=2000000", "log_every=1000", f"hydra.run.dir={run}"]
    children = {forked([*words, f"seed={seed}"]): seed for seed in (1, 2)}
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
def test_fifty_kills_are_survived_by_every_method(tmp_path: Path, name: str) -> None:
    kill_until_done(name, tmp_path, steps=60, kills=50, rng=random.Random(name))
