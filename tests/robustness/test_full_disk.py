"""A full disk: the run fails in one line and loses nothing before its last checkpoint."""

import ctypes
import errno
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ebm_cli.cli.main import main
from ebm_cli.errors import full_disk
from ebm_cli.reporting.tensorboard import TensorBoard
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.status import read_status
from tests.support import FAST, FORKS, Ebm, Ran, at_step, differences, exit_code_of, last, no_pictures, trained

WORDS = [*FAST, "method=pcd", "method.buffer_size=64", "method.k=2", "steps=9", "checkpoint_every=3"]


def test_full_disk_is_found_behind_other_errors() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    hidden = RuntimeError("unexpected pos 64 vs 0")
    hidden.__context__ = full
    assert full_disk(hidden) is full
    assert full_disk(PermissionError(errno.EACCES, "no")) is None
    assert full_disk(None) is None


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The final state of the same run without a full disk."""
    run = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patched:
        no_pictures(patched)
        assert main(["train", *WORDS, f"hydra.run.dir={run}"]) == 0
    return trained(run)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of some KiB; skips the test if mounting is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    mounted: list[Path] = []

    def mount(kib: int) -> Path:
        path = tmp_path / "disk"
        path.mkdir()
        if libc.mount(b"tmpfs", bytes(path), b"tmpfs", 0, f"size={kib}k".encode()) != 0:
            pytest.skip(f"no mount: {os.strerror(ctypes.get_errno())}")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        libc.umount2(bytes(path), 2)


def fill(disk: Path, leave: int = 0) -> None:
    """Fill a disk, leaving so many bytes free."""
    with (disk / "filler").open("wb", buffering=0) as file:
        free = os.statvfs(disk)
        size = free.f_bavail * free.f_frsize - leave
        assert file.write(bytes(size)) == size
        if leave == 0:
            with pytest.raises(OSError, match="No space left"):
                file.write(b"x")


def assert_failed_of_a_full_disk(ran: Ran, run: Path, cause: str) -> None:
    reason = f"no room to write in it ({cause})"
    assert ran.code == 1
    assert (
        ran.err == f"ebm: {run}: {reason}; free some space and rerun the command: it resumes from the last checkpoint\n"
    )
    status = read_status(run)
    assert status is not None
    assert (status["state"], status["reason"]) == ("failed", reason)
    assert not list(run.rglob("*.tmp"))


@pytest.mark.parametrize(
    "leave",
    [pytest.param(0, id="none", marks=pytest.mark.slow), pytest.param(8192, id="too little for a checkpoint")],
)
def test_run_resumes_after_a_disk_filled_up(
    ebm: Ebm,
    monkeypatch: pytest.MonkeyPatch,
    small_disk: Callable[[int], Path],
    leave: int,
    whole: dict[str, Any],
) -> None:
    disk = small_disk(1000)
    run = disk / "run"
    with monkeypatch.context() as patched:
        at_step(patched, 5, lambda: fill(disk, leave))
        ran = ebm("train", *WORDS, f"hydra.run.dir={run}")
    assert_failed_of_a_full_disk(ran, run, "No space left on device")
    assert last(run)["step"] == 3
    # Still full: the same line, and another attempt loses nothing.
    ran = ebm("train", *WORDS, f"hydra.run.dir={run}")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert "No space left on device" in ran.err
    assert last(run)["step"] == 3
    (disk / "filler").unlink()
    assert ebm("train", *WORDS, f"hydra.run.dir={run}").code == 0
    assert differences(trained(run), whole) == []
    assert json.loads((run / "results.json").read_text())


def test_run_fails_in_one_line_on_a_disk_full_from_the_start(ebm: Ebm, small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(100)
    fill(disk)
    ran = ebm("train", *WORDS, f"hydra.run.dir={disk / 'run'}")
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 1
    assert "No space left on device" in ran.err


def run_in_child(act: Callable[[], int]) -> int:
    """Fork, and return what `act` returned in the child."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = act()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return exit_code_of(child)


def limit_file_size(size: int) -> None:
    """Limit every file of this process to `size` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@FORKS
@pytest.mark.parametrize(
    "size",
    [pytest.param(2048, id="in a line of metrics", marks=pytest.mark.slow), pytest.param(6000, id="in a checkpoint")],
)
def test_run_resumes_after_its_files_could_not_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], size: int, whole: dict[str, Any]
) -> None:
    """The limit stands in for a full disk where none can be mounted, and applies to every file of the run."""
    monkeypatch.chdir(tmp_path)
    words = ["train", *WORDS, "hydra.run.dir=run"]

    def child() -> int:
        at_step(monkeypatch, 5, lambda: limit_file_size(size))
        return main(words)

    capfd.readouterr()
    ran = Ran(run_in_child(child), *capfd.readouterr())
    assert_failed_of_a_full_disk(ran, tmp_path / "run", "File too large")
    assert last(tmp_path / "run")["step"] == 3
    assert main(words) == 0
    assert differences(trained(tmp_path / "run"), whole) == []


@FORKS
def test_checkpoint_on_a_full_disk_raises_an_os_error(tmp_path: Path) -> None:
    """torch itself raises a RuntimeError about an unexpected position."""
    file = tmp_path / "x.pt"
    checkpoints.save(file, {"a": torch.zeros(3)})
    before = file.read_bytes()

    def child() -> int:
        limit_file_size(len(before))
        try:
            checkpoints.save(file, {"a": torch.zeros(10_000)})
        except OSError as error:
            return 0 if error.errno == errno.EFBIG else 1
        return 2

    assert run_in_child(child) == 0
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


@FORKS
def test_tensorboard_on_a_full_disk_raises_an_os_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The thread that writes prints nothing; the run raises at the next number, or at the end."""

    def child() -> int:
        threading.excepthook = threading.__excepthook__  # the hook of pytest would hide the exception
        limit_file_size(1024)
        board: Any = None
        try:
            board = TensorBoard(tmp_path)
            for step in range(1000):
                board.scalars({"a": 1.0, "b": 2.0}, step)
                board.flush()
        except OSError as error:
            return 0 if full_disk(error) else 1
        return 2

    assert run_in_child(child) == 0
    assert capfd.readouterr().err == ""
