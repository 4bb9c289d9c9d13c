"""The command: versions, wrong verbs, pipes, the exit of its process, and how little it imports."""

import gc
import os
import subprocess
import sys
from typing import Any

import pytest

from ebm_cli.cli import main
from tests.support import REPO, Ebm


def python(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPO), **env}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, check=False)


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


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"], ["trian"], ["-sc", "query=bash"]])
def test_help_imports_neither_torch_nor_hydra(words: list[str]) -> None:
    """The whole process takes well under half a second of work."""
    code = (
        f"import sys; from ebm_cli.cli.main import main; main({words!r}); print(sorted(sys.modules), file=sys.stderr)"
    )
    before = os.times()
    ran = python("-c", code, COMP_LINE="ebm train method=")
    after = os.times()
    modules = ran.stderr
    assert "'ebm_cli.cli.main'" in modules
    for heavy in ("torch", "hydra", "omegaconf", "numpy", "matplotlib", "rich"):
        assert f"'{heavy}'" not in modules
    # CPU time, which another process on the same machine does not lengthen.
    assert after.children_user - before.children_user + after.children_system - before.children_system < 0.5


@pytest.mark.parametrize("words", [["train", "--cfg", "job"], ["train", "--info", "defaults"]], ids=["cfg", "info"])
def test_printing_a_config_imports_no_torch(words: list[str]) -> None:
    code = f"import sys; from ebm_cli.cli.main import main; main({words!r}); sys.exit('torch' in sys.modules)"
    ran = python("-c", code)
    assert ran.returncode == 0, ran.stderr
    assert "method" in ran.stdout


def test_process_skips_garbage_collection_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process alone: `main`, called in a notebook, leaves the collector unchanged."""
    registered: list[Any] = []
    monkeypatch.setattr("atexit.register", registered.append)
    monkeypatch.setattr(sys, "argv", ["ebm", "--version"])
    assert main.command() == 0
    assert registered == [gc.freeze]
    assert main.main(["--version"]) == 0
    assert registered == [gc.freeze]
