"""The folder of several runs, typed for that of one."""

from pathlib import Path

import pytest

from ebm_cli.errors import UserError
from ebm_cli.runs.checkpoint import locate
from ebm_cli.runs.parent_folder import explain_parent


def test_run_of_a_folder_inside_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match=f"it is a folder of the run: type checkpoint={tmp_path}$"):
        locate(tmp_path / "checkpoints", "auto")


def test_runs_of_a_folder_are_named(tmp_path: Path) -> None:
    assert explain_parent(tmp_path, "checkpoints") == explain_parent(tmp_path / "none", "checkpoints") == ""
    for name in ("0", "1"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
    words = f"it is the folder of 2 runs (0, 1): type checkpoint={tmp_path}/0"
    assert explain_parent(tmp_path, "checkpoints") == words
    with pytest.raises(UserError, match="it has no checkpoints; it is the folder of 2 runs"):
        locate(tmp_path, "auto")
