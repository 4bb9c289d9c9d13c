"""Patterns in place of paths: what they match, and what is said where one run is needed."""

from pathlib import Path

import pytest

from ebm_cli.config.patterns import explain_pattern, matches
from ebm_cli.errors import UserError
from ebm_cli.runs.checkpoint import locate


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the runs s/0, s/1 and [2], and a folder that is none."""
    monkeypatch.chdir(tmp_path)
    for name in ("s/0", "s/1", "[2]"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "status.json").touch()
    (tmp_path / "s/logs").mkdir()
    (tmp_path / "s/1/checkpoints").mkdir()
    for name in ("last.pt", "best.pt"):
        (tmp_path / "s/1/checkpoints" / name).touch()
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_path_that_exists_is_no_pattern() -> None:
    assert matches("[2]") == [Path("[2]")]
    assert matches("[3]") == []
    assert explain_pattern("[2]") == ""
    assert explain_pattern("s/3") == ""


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("s/*", "matches 2 runs (s/0, s/1), and a path is needed: type checkpoint=s/0"),
        ("s/[1-9]", "matches 1 run (s/1), and a path is needed: type checkpoint=s/1"),
        ("s/**", "matches 2 runs (s/0, s/1), and a path is needed: type checkpoint=s/0"),
        (
            "s/*/*/last.pt",
            "matches 1 checkpoint (s/1/checkpoints/last.pt), and a path is needed: type "
            "checkpoint=s/1/checkpoints/last.pt",
        ),
        ("?", "matches no run; ?/* matches 2 runs (s/0, s/1), and a path is needed: type checkpoint=s/0"),
        ("t/*", "matches no run; ebm runs lists all runs"),
        ("?2]", "matches 1 run ([2]), and a path is needed: type \"checkpoint='[2]'\""),
    ],
)
def test_a_pattern_for_one_run_is_answered_with_paths(word: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        locate(word)
    assert str(caught.value) == f"checkpoint={word}: the pattern {said}"


def test_an_absolute_pattern_is_expanded(folder: Path) -> None:
    assert matches(f"{folder}/s/?") == [folder / "s/0", folder / "s/1"]
