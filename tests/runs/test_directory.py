"""The lock and the status of a run directory."""

import fcntl
import json
import os
from pathlib import Path

import pytest
import torch

from ebm_cli.errors import UserError
from ebm_cli.runs.directory import RunDirectory
from ebm_cli.runs.status import read_status


def test_status_records_owner_progress_and_end(tmp_path: Path) -> None:
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


def test_directory_is_locked_for_one_process(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as directory:
        directory.begin(1, "x")
        with pytest.raises(UserError, match=f"another process is running in it \\(pid {os.getpid()} on "):
            RunDirectory(tmp_path)
    with RunDirectory(tmp_path), (tmp_path / ".lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("content", [None, "", "{", "[1]", '"running"'])
def test_unreadable_status_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "status.json").write_text(content)
    assert read_status(tmp_path) is None
