"""The parts of a run's life: average, guard, checkpoint file, run directory, and the one step."""

import fcntl
import json
import math
import os
import pickle
import signal
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from ebm_cli.errors import UserError
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.directory import RunDirectory
from ebm_cli.runs.signals import Interrupted, Signals
from ebm_cli.runs.status import read_status
from ebm_cli.training.build import make_trainer
from ebm_cli.training.guard import Diverged, Guard
from ebm_cli.training.trainer import Trainer
from tests.support import composed, differences

# --- the guard --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "grad_norm", "what"),
    [(math.nan, 1.0, "the loss"), (-math.inf, math.nan, "the loss"), (1.0, math.inf, "the gradient")],
)
def test_the_guard_names_the_first_bad_step(loss: float, grad_norm: float, what: str) -> None:
    guard = Guard(5, torch.device("cpu"))
    for step in (41, 42, 43, 44):
        bad = step >= 43
        guard.observe(step, torch.tensor(loss if bad else 1.0), torch.tensor(grad_norm if bad else 1.0))
    diverged = guard.read()
    assert diverged is not None
    assert diverged.step == 43
    assert str(diverged).startswith(f"diverged at step 43: {what} is not finite; lower optimizer.lr")
    assert diverged.exit_code == 3
    assert guard.read() is None


def test_the_guard_forgets_what_it_has_read() -> None:
    guard = Guard(2, torch.device("cpu"))
    for step in range(1, 9):
        guard.observe(step, torch.tensor(1.0), torch.tensor(1.0))
        if step % 2 == 0:
            assert guard.read() is None


# --- the checkpoint file ----------------------------------------------------------------------------------------------

STATE: dict[str, Any] = {
    key: {} for key in ("config", "energy", "ema", "method", "optimizers", "schedules", "dataset", "rng", "versions")
} | {"step": 3, "tensor": torch.arange(5.0)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "last.pt"
    checkpoints.save(path, STATE)
    return path


def test_a_checkpoint_is_read_as_it_was_written(file: Path) -> None:
    state = checkpoints.read(file)
    assert state["format"] == checkpoints.FORMAT
    assert state["step"] == 3
    assert torch.equal(state["tensor"], STATE["tensor"])
    assert [path.name for path in file.parent.iterdir()] == ["last.pt"]


def test_a_failed_write_leaves_the_earlier_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def full(state: Any, to: Any) -> None:
        to.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(file, STATE)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.95, 0.999])
def test_a_truncated_checkpoint_is_refused(file: Path, share: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="not a checkpoint, or a truncated one"):
        checkpoints.read(file)


def test_every_flipped_bit_of_a_tensor_is_noticed(file: Path) -> None:
    """torch.load alone takes it."""
    whole = bytearray(file.read_bytes())
    at = whole.find(STATE["tensor"].numpy().tobytes())
    for bit in range(8 * 20):
        damaged = bytearray(whole)
        damaged[at + bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            checkpoints.read(file)
    assert not torch.equal(torch.load(file, weights_only=True)["tensor"], STATE["tensor"])


class Runs:
    """What a pickle may do when it is read."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("made-by-a-pickle",)


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "x": Runs()}, "bad.pt")
    with pytest.raises(UserError, match="not a checkpoint of ebm"):
        checkpoints.read(Path("bad.pt"))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pt"]
    with zipfile.ZipFile("bad.pt") as archive:
        pickle.loads(archive.read("bad/data.pkl").replace(b"Q", b"Q"))
    assert (tmp_path / "made-by-a-pickle").is_dir()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1, 2], "not a checkpoint of ebm"),
        ({"weights": torch.ones(2)}, "not a checkpoint of ebm"),
        (STATE | {"format": 999}, r"written by a later version \(format 999\)"),
        (STATE | {"format": "1"}, "later version"),
        ({"format": 1, "config": {}, "step": 1}, "incomplete, it has no energy, ema, method, dataset, versions"),
    ],
)
def test_other_files_of_torch_are_refused(tmp_path: Path, state: Any, message: str) -> None:
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(UserError, match=message):
        checkpoints.read(tmp_path / "x.pt")


def test_locate(file: Path, tmp_path: Path) -> None:
    assert checkpoints.locate(file) == file
    assert checkpoints.locate(tmp_path) == file
    with pytest.raises(UserError, match=r"no checkpoints/best\.pt in it; it has last\.pt"):
        checkpoints.locate(tmp_path, "best")
    with pytest.raises(UserError, match="no such file or directory"):
        checkpoints.locate(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is it a run directory"):
        checkpoints.locate(file.parent)


def test_prune_keeps_the_newest_and_the_named(tmp_path: Path) -> None:
    for step in (5, 10, 900, 1000):
        checkpoints.save(tmp_path / f"step-{step:08d}.pt", STATE)
    checkpoints.link(tmp_path / "step-00000900.pt", tmp_path / "best.pt")
    checkpoints.link(tmp_path / "step-00000010.pt", tmp_path / "last.pt")
    checkpoints.link(tmp_path / "step-00001000.pt", tmp_path / "last.pt")
    checkpoints.prune(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.pt", "last.pt", "step-00000900.pt", "step-00001000.pt"]
    checkpoints.prune(tmp_path, 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.pt", "last.pt"]
    assert checkpoints.read(tmp_path / "last.pt")["step"] == 3


def test_not_finite_names_the_tensor() -> None:
    sound = {"a": [torch.ones(2), {"n": torch.arange(3), "flag": torch.tensor([True])}], "best": math.inf}
    assert checkpoints.first_non_finite(sound) is None
    assert checkpoints.first_non_finite(sound | {"b": [torch.ones(1), torch.tensor([0.0, math.nan])]}) == "b.1"
    assert checkpoints.first_non_finite({"e": {"w": torch.tensor(-math.inf)}}) == "e.w"


# --- the run directory ------------------------------------------------------------------------------------------------


def test_status_says_whose_run_it_is_and_where_it_is(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as directory:
        directory.begin(50, "abc")
        status = json.loads((tmp_path / "status.json").read_text())
        assert set(status) == {
            "state", "step", "steps", "started", "ended", "reason", "waited", "pid", "host", "config_hash", "versions",
            "git",
        }  # fmt: skip
        assert (status["state"], status["step"], status["steps"], status["pid"]) == ("running", 0, 50, os.getpid())
        assert status["versions"]["torch"] == torch.__version__
        directory.set_progress(20)
        directory.finish("interrupted", 25, "why")
    first = read_status(tmp_path)
    assert first is not None
    assert (first["state"], first["step"], first["reason"]) == ("interrupted", 25, "why")
    with RunDirectory(tmp_path) as directory:
        directory.begin(50, "abc")
        directory.finish("failed")
    second = read_status(tmp_path)
    assert second is not None
    assert (second["started"], second["step"]) == (first["started"], 25)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as directory:
        directory.begin(1, "x")
        with pytest.raises(UserError, match=f"another process is running in it \\(pid {os.getpid()} on "):
            RunDirectory(tmp_path)
    with RunDirectory(tmp_path), (tmp_path / ".lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("content", [None, "", "{", "[1]", '"running"'])
def test_a_status_that_cannot_be_read_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "status.json").write_text(content)
    assert read_status(tmp_path) is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR2, 140)])
def test_a_signal_is_noted_while_deferred_and_obeyed_otherwise(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with Signals() as signals:
        with signals.deferred():
            signal.raise_signal(number)
            assert signals.received == number
            with pytest.raises(Interrupted) as twice:
                signal.raise_signal(number)
        assert twice.value.exit_code == code
    with Signals() as signals, pytest.raises(Interrupted, match="interrupted by SIG"):
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


# --- the one step -----------------------------------------------------------------------------------------------------


def trainer(*words: str) -> Trainer:
    cfg = composed("dataset=gaussian", "log_every=100", "optimizer.lr=0.002", *words)
    parts = assemble(cfg)
    made = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, made.rng)
    return made


PLAIN = ["optimizer=sgd", "optimizer.lr=0.01", "optimizer.momentum=0", "schedule=constant"]


def test_the_gradient_is_clipped_to_its_norm() -> None:
    clipped = trainer("method=sm", *PLAIN, "clip_grad_norm=0.001")
    before = [p.detach().clone() for p in clipped.energy.parameters()]
    clipped.advance()
    moved = [p - b for p, b in zip(clipped.energy.parameters(), before, strict=True)]
    norm = torch.cat([m.detach().flatten() for m in moved]).norm()
    assert clipped.grad_norm > 0.01
    assert float(norm) == pytest.approx(0.01 * 0.001, rel=1e-2)
    loose = trainer("method=sm", *PLAIN, "clip_grad_norm=null")
    before = [p.detach().clone() for p in loose.energy.parameters()]
    loose.advance()
    moved = [p - b for p, b in zip(loose.energy.parameters(), before, strict=True)]
    assert float(torch.cat([m.detach().flatten() for m in moved]).norm()) == pytest.approx(
        0.01 * float(loose.grad_norm), rel=1e-2
    )


@pytest.mark.parametrize(
    ("words", "rates"),
    [
        (["schedule=constant"], [0.002] * 5),
        (["schedule=cosine"], [0.001 * (1 + math.cos(math.pi * t / 4)) for t in range(5)]),
    ],
)
def test_the_schedule_spans_the_run(words: list[str], rates: list[float]) -> None:
    made = trainer("method=sm", "steps=4", *words)
    seen = [made.learning_rates()["energy"]]
    for _ in range(4):
        made.advance()
        seen.append(made.learning_rates()["energy"])
    assert seen == pytest.approx(rates, abs=1e-12)


def test_the_default_schedule_rises_and_ends_near_zero() -> None:
    made = trainer("method=sm", "steps=40", "schedule.pct_start=0.25")
    seen = []
    for _ in range(40):
        seen.append(made.learning_rates()["energy"])
        made.advance()
    assert seen[0] == pytest.approx(0.002 / 25)
    assert max(seen) == pytest.approx(0.002, rel=0.01)
    assert seen.index(max(seen)) in (9, 10)
    assert seen[-1] < 0.002 / 100


def test_only_the_player_whose_turn_it_is_moves() -> None:
    made = trainer("method=fce", "method.turn_every=1", "optimizer.lr=0.05", "schedule=constant")
    seen = set()
    for _ in range(20):
        before = {name: [p.detach().clone() for p in player.flat.parameters] for name, player in made._players.items()}
        ema = made.ema._mean.clone()
        turn = made.advance().player
        for name, player in made._players.items():
            moved = any(not torch.equal(p, b) for p, b in zip(player.flat.parameters, before[name], strict=True))
            assert moved == (name == turn)
        has_moved = not torch.equal(made.ema._mean, ema)
        assert has_moved == (turn == "energy")
        seen.add(turn)
    assert seen == {"energy", "flow"}


def test_each_player_has_its_own_learning_rate() -> None:
    made = trainer("method=fce", "schedule=constant", "method.flow_lr=0.0005")
    assert made.learning_rates() == {"energy": 0.002, "flow": 0.0005}


def test_the_average_covers_log_z() -> None:
    made = trainer("method=nce", "ema=0.9", "optimizer.lr=0.1", "schedule=constant")
    for _ in range(3):
        made.advance()
    found = made.method.learned_log_z()
    assert found is not None
    live = found.detach()
    value = float(live)
    with made.ema.applied():
        assert float(live) != value
    assert float(live) == value


def test_what_a_step_costs_is_summed() -> None:
    made = trainer("method=cd", "sampler=langevin", "method.k=3")
    made.advance()
    once = made.evaluations
    made.advance()
    assert made.evaluations == tuple(2 * n for n in once)
    assert once.grad >= 3


def test_a_bad_loss_reaches_the_guard() -> None:
    made = trainer("method=sm", "optimizer=sgd", "optimizer.lr=1e30", "clip_grad_norm=null", "schedule=constant")
    found = None
    for _ in range(4):
        made.advance()
        found = made.guard.read() if found is None else found
    assert isinstance(found, Diverged)
    assert found.step == 2


def test_the_state_of_a_trainer_is_plain(tmp_path: Path) -> None:
    """Whatever torch.load takes with weights_only."""
    made = trainer("method=fce")
    made.advance()
    state = made.state_dict()
    keys = {"step", "energy", "ema", "method", "optimizers", "schedules", "batches", "rng", "evaluations"}
    assert set(state) == keys
    torch.save(state, tmp_path / "state.pt")
    assert differences(torch.load(tmp_path / "state.pt", weights_only=True), state) == []
