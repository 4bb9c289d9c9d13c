"""Atomic writing of files."""

import json
import math
from pathlib import Path

import pytest

from ebm_cli.runs.directory import RunDirectory
from ebm_cli.system.files import remove_leftovers, replacing, write_json, write_text


def test_replacing_keeps_the_old_file_until_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_text(file, "before")
    with replacing(file, durable=True) as temporary:
        temporary.write_text("after")
        assert file.read_text() == "before"
    assert file.read_text() == "after"


def test_replacing_keeps_the_old_file_after_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_text(file, "before")
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "half of it, and \udc00")
    assert file.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_write_json_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {"a": 1.0})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "r.json", {"a": math.nan})
    assert json.loads((tmp_path / "r.json").read_text()) == {"a": 1.0}
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    """The next start removes them from the run's own folders, and no file of another name."""
    folders = [tmp_path, tmp_path / "checkpoints"]
    folders[1].mkdir()
    for folder in folders:
        for name in (".last.pt.12.tmp", ".status.json.4711.tmp", "mine.tmp", ".mine.tmp", "last.pt"):
            (folder / name).write_text("")
    (tmp_path / ".metrics.jsonl.12.tmp").write_text("")
    with RunDirectory(tmp_path) as directory:
        directory.begin(1, "x")
    for folder in folders:
        assert {path.name for path in folder.iterdir() if path.is_file()} - {".lock", "status.json"} == {
            "mine.tmp", ".mine.tmp", "last.pt",
        }  # fmt: skip
    remove_leftovers(tmp_path / "nowhere")
