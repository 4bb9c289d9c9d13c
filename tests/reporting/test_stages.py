"""Stages of an evaluation on the terminal and in the log."""

import io
import logging

import pytest
from rich.console import Console

from ebm_cli.reporting.stages import Stages


def shown(is_terminal: bool) -> str:
    text = io.StringIO()
    with Stages("evaluation", Console(file=text, width=100, force_terminal=is_terminal)) as stages:
        stages.begin("log Z and divergences", 1, 2)
        stages.begin("samples", 2, 2)
    return text.getvalue()


def test_terminal_names_the_running_stage() -> None:
    assert "evaluation: samples" in shown(True)
    assert "1/2" in shown(True)


def test_pipe_gets_no_bar() -> None:
    assert shown(False) == ""


def test_log_gets_one_line_a_stage(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        shown(False)
    assert caplog.messages == ["evaluation: log Z and divergences (1 of 2)", "evaluation: samples (2 of 2)"]
