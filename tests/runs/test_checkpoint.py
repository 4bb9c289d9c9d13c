"""Checkpoint files: written atomically, verified before they are read."""

import json
import math
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from ebm_cli.errors import UserError
from ebm_cli.runs import checkpoint as checkpoints

STATE: dict[str, Any] = {
    key: {} for key in ("config", "energy", "ema", "method", "optimizers", "schedules", "dataset", "rng", "versions")
} | {"step": 3, "tensor": torch.arange(5.0)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "last.pt"
    checkpoints.save(path, STATE)
    return path


def test_read_gives_what_save_wrote(file: Path) -> None:
    state = checkpoints.read(file)
    assert state["format"] == checkpoints.FORMAT
    assert state["step"] == 3
    assert torch.equal(state["tensor"], STATE["tensor"])
    assert [path.name for path in file.parent.iterdir()] == ["last.pt"]


def test_failed_save_leaves_the_earlier_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_read_refuses_a_truncated_file(file: Path, share: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="not a checkpoint, or a truncated one"):
        checkpoints.read(file)


def test_read_notices_every_flipped_bit_of_a_tensor(file: Path) -> None:
    """torch.load alone accepts it, as the last line shows."""
    whole = bytearray(file.read_bytes())
    at = whole.find(STATE["tensor"].numpy().tobytes())
    for bit in range(8 * 20):
        damaged = bytearray(whole)
        damaged[at + bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            checkpoints.read(file)
    assert not torch.equal(torch.load(file, weights_only=True)["tensor"], STATE["tensor"])


class MakesAFolder:
    """A pickle that calls os.mkdir when it is loaded."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("made-by-a-pickle",)


def test_read_executes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "x": MakesAFolder()}, "bad.pt")
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
def test_read_refuses_other_files_of_torch(tmp_path: Path, state: Any, message: str) -> None:
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(UserError, match=message):
        checkpoints.read(tmp_path / "x.pt")


def test_locate_finds_files_and_run_directories(file: Path, tmp_path: Path) -> None:
    assert checkpoints.locate(file) == file
    assert checkpoints.locate(tmp_path) == file
    with pytest.raises(UserError, match=r"no checkpoints/best\.pt in it; it has last\.pt"):
        checkpoints.locate(tmp_path, "best")
    with pytest.raises(UserError, match="no such file or directory"):
        checkpoints.locate(tmp_path / "nowhere")
    with pytest.raises(UserError, match="it is a folder of the run: type checkpoint="):
        checkpoints.locate(file.parent)
    (file.parent / "empty").mkdir()
    with pytest.raises(UserError, match="is it a run directory"):
        checkpoints.locate(file.parent / "empty")


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ({"state": "running"}, "its run is still running and has written none yet; wait for it, or train with "),
        ({"state": "failed", "reason": "OSError: no\nroom"}, r"its run has written none; its state is failed \(OSEr"),
        ({"state": "interrupted"}, "its run has written none; its state is interrupted$"),
    ],
)
def test_run_without_a_checkpoint_is_named_with_its_state(tmp_path: Path, status: dict[str, str], line: str) -> None:
    (tmp_path / "status.json").write_text(json.dumps(status))
    with pytest.raises(UserError, match=rf"no checkpoints/last\.pt in it; {line}"):
        checkpoints.locate(tmp_path)


def test_other_file_is_told_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(UserError, match=r"truncated one; checkpoint= takes a run directory, or a file checkpoints/\*"):
        checkpoints.read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("of_best", "of_last", "name"),
    [
        ({"patience": 5}, {"patience": 5}, "best.pt"),
        ({"patience": None}, {"patience": None}, "last.pt"),
        ({}, {}, "last.pt"),  # written by a version without patience
        (None, {"patience": 5}, "last.pt"),
        # Of a run that was continued with another patience, the newest checkpoint tells.
        ({"patience": 5}, {"patience": None}, "last.pt"),
        ({"patience": None}, {"patience": 5}, "best.pt"),
    ],
)
def test_auto_is_the_checkpoint_that_results_are_of(
    tmp_path: Path, of_best: dict[str, Any] | None, of_last: dict[str, Any], name: str
) -> None:
    folder = tmp_path / "checkpoints"
    for file, config in (("best.pt", of_best), ("last.pt", of_last)):
        if config is not None:
            checkpoints.save(folder / file, STATE | {"config": config})
    found = checkpoints.locate(tmp_path)
    assert found == folder / name
    sentence = f"{tmp_path}: takes best.pt, of step 1,000, since the run has patience" if name == "best.pt" else ""
    assert checkpoints.explain_auto(tmp_path, "auto", found, 1000) == sentence
    assert checkpoints.explain_auto(found, "auto", found, 1000) == ""
    assert checkpoints.locate(tmp_path, "last") == folder / "last.pt"
    if of_best is not None:
        assert checkpoints.locate(tmp_path, "best") == folder / "best.pt"
        assert checkpoints.explain_auto(tmp_path, "best", folder / "best.pt", 1000) == ""


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


def test_first_non_finite_names_the_tensor() -> None:
    sound = {"a": [torch.ones(2), {"n": torch.arange(3), "flag": torch.tensor([True])}], "best": math.inf}
    assert checkpoints.first_non_finite(sound) is None
    assert checkpoints.first_non_finite(sound | {"b": [torch.ones(1), torch.tensor([0.0, math.nan])]}) == "b.1"
    assert checkpoints.first_non_finite({"e": {"w": torch.tensor(-math.inf)}}) == "e.w"
