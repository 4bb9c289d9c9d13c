"""The console: its width, paths and durations."""

from pathlib import Path

import pytest
from rich import box
from rich.table import Column, Table
from rich.text import Text

from ebm_cli.reporting.console import WIDTH_OF_A_PIPE, duration, make_console, relative_path


def test_make_console_is_wide_where_output_is_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert make_console().width == WIDTH_OF_A_PIPE
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert make_console().width == 80


def test_lines_in_a_pipe_end_without_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(Column("a"), Column("b"), title="t", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_row("a long name", "")
    make_console().print(table, Text("x  y"))
    lines = capsys.readouterr().out.splitlines()
    assert "  a long name" in lines
    assert lines[-1] == "x  y"
    assert lines == [line.rstrip() for line in lines]


def test_relative_path_is_short_inside_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative_path(tmp_path / "runs" / "1") == "runs/1"
    assert relative_path(tmp_path.parent) == str(tmp_path.parent)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
