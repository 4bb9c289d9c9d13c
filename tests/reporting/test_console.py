"""The console: its width, paths and durations."""

from pathlib import Path

import pytest

from ebm_cli.reporting.console import WIDTH_OF_A_PIPE, duration, make_console, relative_path


def test_make_console_is_wide_where_output_is_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert make_console().width == WIDTH_OF_A_PIPE
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert make_console().width == 80


def test_relative_path_is_short_inside_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative_path(tmp_path / "runs" / "1") == "runs/1"
    assert relative_path(tmp_path.parent) == str(tmp_path.parent)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
