"""The page of the lecture's claims."""

import json
from pathlib import Path

import pytest

from tests import lecture_page
from tests.lecture_page import Found, experiments, main, page, read


def leave(directory: Path, *, passed: bool) -> None:
    """Write what an experiment leaves in its directory."""
    (directory / "figures").mkdir(parents=True)
    (directory / "figures" / "measurement.png").write_bytes(b"\x89PNG")
    (directory / "claims.json").write_text(json.dumps([{"claim": "ULA", "passed": passed, "what": "1 < 2"}]))
    numbers = {"claim": "it is so", "rows": [{"a": 0.123456, "b": None}], "verdicts": []}
    (directory / "numbers.json").write_text(json.dumps(numbers))


def test_page_holds_verdict_figure_command_and_numbers(tmp_path: Path) -> None:
    leave(tmp_path, passed=True)
    text = page([read("ula_bias", tmp_path), Found("gone", "A title", "a claim", [], [], None)])
    for part in (
        "1 of 2 claims",
        ">PASS<",
        "1 &lt; 2",
        "data:image/png;base64,iVBORw",
        "0.1235",
        ">NOT RUN<",
        "not end",
    ):
        assert part in text
    assert "ebm train experiment=lecture/ula_bias" in text
    assert "http" not in text


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
def test_page_is_written_and_failures_are_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed: bool, code: int
) -> None:
    ran: list[str] = []

    def run(name: str, directory: Path) -> int:
        ran.append(name)
        leave(directory, passed=passed)
        return 0

    monkeypatch.setattr(lecture_page, "run", run)
    for _ in range(2):
        assert main([f"root={tmp_path}", "only=ula_bias,why_the_noise", "again=1"]) == code
    assert ran == ["ula_bias", "why_the_noise"] * 2
    assert (tmp_path / "index.html").is_file()


def test_experiment_that_did_not_end_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lecture_page, "run", lambda name, directory: 1)
    assert main([f"root={tmp_path}", "only=ula_bias"]) == 1


def test_refused_command_leaves_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(tmp_path / "ula_bias", passed=True)
    for code in (0, 1):
        monkeypatch.setattr(lecture_page, "run", lambda name, directory, code=code: code)
        assert main([f"root={tmp_path}", "only=ula_bias"]) == code
    assert "NOT RUN" in (tmp_path / "index.html").read_text()


def test_page_follows_the_course() -> None:
    names = experiments()
    assert sorted(names) == sorted(path.stem for path in lecture_page.FOLDER.glob("*.yaml"))
    assert names.index("partition_function") < names.index("cd_cost") < names.index("nce_noise")
    assert names[-1] == "all_methods"


@pytest.mark.parametrize("word", ["only=ula", "onlly=ula_bias"])
def test_wrong_word_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 2
    assert "no such" in capsys.readouterr().err
    assert "ula_bias" in experiments()
