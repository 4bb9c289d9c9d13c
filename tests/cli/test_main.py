"""The command: versions, wrong verbs, closed pipes, and the exit of its process."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.cli import main
from tests.support import Ebm


def test_version_lists_the_libraries(ebm: Ebm) -> None:
    ran = ebm("--version")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()] == ["ebm", "python", "torch", "hydra"]
    assert ebm("train", "--version").out == ran.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trian"], "ebm: no verb 'trian'; did you mean train?"),
        (["smaple"], "ebm: no verb 'smaple'; did you mean sample?"),
        (["method=nce"], "ebm: no verb before 'method=nce'; did you mean ebm train method=nce?"),
        (["--verison"], "ebm: no flag '--verison' before the verb; did you mean --version?"),
    ],
)
def test_wrong_verb_exits_with_2(ebm: Ebm, words: list[str], line: str) -> None:
    ran = ebm(*words)
    assert (ran.code, ran.out, ran.err.splitlines()) == (2, "", [line])


def test_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m ebm_cli train --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert ran.stderr == ""
    assert ran.stdout.startswith("ebm train: ")


@pytest.mark.parametrize("module", ["platform", "hydra", "torch"])
def test_interrupt_during_an_import_is_one_line(tmp_path: Path, module: str) -> None:
    """As by Ctrl-C in the first tenths of a second, before the verb runs, even where an import swallows it."""
    pressed = "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt:\n    pass\n"
    (tmp_path / f"{module}.py").write_text(pressed)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    command, env = [sys.executable, "-m", "ebm_cli", "train"], {**os.environ, "PYTHONPATH": path}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "ebm: interrupted\n")


@pytest.fixture
def collector() -> Iterator[None]:
    """Enable Python's garbage collection after a test that disables it."""
    yield
    gc.enable()


@pytest.mark.usefixtures("collector")
def test_process_skips_garbage_collection_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process alone: `main`, called in a notebook, leaves the collector unchanged."""
    registered: list[Any] = []
    monkeypatch.setattr("atexit.register", registered.append)
    monkeypatch.setattr(sys, "argv", ["ebm", "--version"])
    assert main.main(["--version"]) == 0
    assert registered == []
    assert gc.isenabled()
    assert main.command() == 0
    assert registered == [gc.freeze]
    assert not gc.isenabled()


@pytest.mark.usefixtures("collector")
def test_verb_runs_with_garbage_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.disable()
    seen: list[bool] = []
    monkeypatch.setattr("ebm_cli.commands.runs.runs", lambda cfg: seen.append(gc.isenabled()))
    assert main.main(["runs"]) == 0
    assert seen == [True]
