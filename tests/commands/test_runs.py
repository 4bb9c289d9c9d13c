"""`ebm runs`: the table of runs, with damaged and dead ones."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.commands import runs
from ebm_cli.runs.record import find
from tests.reporting.support import output_of, terminal
from tests.support import Ebm


def write_run(path: Path, status: Any, results: Any = None, choices: dict[str, str] | None = None) -> None:
    """Write the files from which a run is read: status, choices, config, and results."""
    (path / ".hydra").mkdir(parents=True)
    (path / "status.json").write_text(status if isinstance(status, str) else json.dumps(status))
    if results is not None:
        (path / "results.json").write_text(results if isinstance(results, str) else json.dumps(results))
    chosen = {"method": "nce", "dataset": "moons", **(choices or {})}
    (path / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"choices": chosen}}}))
    (path / "config.yaml").write_text("monitor: eval/kl\n")


@pytest.mark.parametrize(("verb", "word"), [("runs", "runs=o"), ("compare", "root=o"), ("evaluate", "run=o")])
def test_another_key_for_the_folder_shows_what_to_write(ebm: Ebm, verb: str, word: str) -> None:
    assert ebm(verb, word).err == f"ebm: {word[:-2]}: no such key; write ebm {verb} o\n"


def test_folder_deleted_during_the_search_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "kept", {"state": "finished"})
    (tmp_path / "gone").mkdir()
    right = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("gone"):
            raise FileNotFoundError(path)
        return right(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [record.path.name for record in find(tmp_path)] == ["kept"]


def test_runs_shows_seed_settings_and_why_a_run_failed(ebm: Ebm, tmp_path: Path) -> None:
    write_run(tmp_path / "o/a", {"state": "failed", "step": 3, "steps": 9, "reason": "OSError: no\nroom"})
    (tmp_path / "o/a/config.yaml").write_text("seed: 7\n")
    (tmp_path / "o/a/.hydra/overrides.yaml").write_text("[seed=7, method=nce, optimizer.lr=0.1]")
    write_run(tmp_path / "o/b", {"state": "diverged", "reason": "x" * 500})
    out = ebm("runs", "root=o").out
    assert out.splitlines()[1].split()[:6] == ["failed", "nce", "moons", "7", "optimizer.lr=0.1", "3/9"]
    assert "\no/a  OSError: no room\n" in out
    assert f"\no/b  {'x' * (runs.LONGEST_REASON - 1)}…\n" in out


def test_runs_lists_states_results_and_ages(ebm: Ebm, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = socket.gethostname()
    now = time.time()
    running = {"state": "running", "step": 5, "steps": 10, "host": here}
    write_run(
        tmp_path / "o/a", {"state": "finished", "step": 10, "steps": 10, "started": now - 7300}, {"eval/kl": 0.012345}
    )
    write_run(tmp_path / "o/b", running | {"pid": os.getpid(), "started": now - 120}, choices={"method": "cd"})
    write_run(tmp_path / "o/c", running | {"pid": dead.pid, "started": now - 60})
    write_run(tmp_path / "o/d", running | {"pid": dead.pid, "host": "elsewhere", "started": now - 30})
    write_run(tmp_path / "o/e", '{"state": ', {"eval/nll": None})
    write_run(tmp_path / "o/f", {"state": "finished", "step": 1, "steps": 1, "started": now - 10}, "[")
    write_run(tmp_path / "o/g", {"state": "diverged", "step": 3, "steps": 9, "started": now - 5}, {"eval/nll": 1.5})
    ran = ebm("runs", "root=o")
    assert (ran.code, ran.err) == (0, "")
    rows = {line.split("o/")[1].split()[0]: line.split() for line in ran.out.splitlines() if "o/" in line}
    assert rows["a"] == ["finished", "nce", "moons", "10/10", "fair", "eval/kl", "0.01235", "2h", "o/a"]
    assert rows["b"] == ["running", "cd", "moons", "5/10", "2m", "o/b"]
    assert [rows[name][0] for name in "cd"] == ["lost", "running"]
    assert [rows[name][0] for name in "ef"] == ["broken", "broken"]
    assert rows["f"][-4:] == ["(results.json", "cannot", "be", "read)"]
    assert rows["g"][:6] == ["diverged", "nce", "moons", "3/9", "eval/nll", "1.5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o"]


def test_runs_marks_results_that_are_not_to_be_trusted(ebm: Ebm, tmp_path: Path) -> None:
    still = {"eval/overall": "broken", "sampler/never_moved": 9, "sampler/n_chains": 10}
    write_run(tmp_path / "o/a", {"state": "finished", "step": 1, "steps": 1}, still)
    assert "finished, exit code 4  " in ebm("runs", "root=o").out


def test_runs_names_a_run_that_is_not_judged(ebm: Ebm, tmp_path: Path) -> None:
    unbounded = {"eval/nll": -4.0, "eval/nll_vs_gaussian": -3.0, "eval/unbounded": "column 2 is constant"}
    write_run(tmp_path / "o/a", {"state": "finished", "step": 1, "steps": 1}, unbounded)
    assert "1/1  not judged  eval/nll -4" in ebm("runs", "root=o").out


def test_two_classes_of_one_name_have_their_paths(ebm: Ebm, tmp_path: Path) -> None:
    """One alone is called by its name."""
    for name in "ab":
        run = tmp_path / "o" / name
        write_run(run, {"state": "finished", "step": 1, "steps": 1}, choices={"method": "cd"})
        (run / "config.yaml").write_text(f"method: {{_target_: {name}.methods.Mine}}\n")
    found = [line.split()[1:3] for line in ebm("runs", "root=o").out.splitlines()[1:]]
    assert sorted(found) == [["a.methods.Mine", "moons"], ["b.methods.Mine", "moons"]]
    (alone,) = ebm("runs", "root=o/a").out.splitlines()[1:]
    assert alone.split()[1] == "Mine"


def test_runs_says_that_there_are_none(ebm: Ebm, tmp_path: Path) -> None:
    assert ebm("runs")[::2] == (1, "ebm: root=outputs: no such directory\n")
    (tmp_path / "outputs").mkdir()
    assert ebm("runs")[:2] == (0, "no runs under outputs\n")


def test_runs_takes_a_pattern_that_no_shell_expanded(ebm: Ebm, tmp_path: Path) -> None:
    for name in ("s1/a", "s1/b", "s2/a", "t/a"):
        write_run(tmp_path / "o" / name, {"state": "finished", "step": 1, "steps": 1})
    (tmp_path / "o/s.txt").touch()

    def listed(*words: str) -> list[str]:
        return [line.split()[-1] for line in ebm("runs", *words).out.splitlines()[1:]]

    assert listed("o/s*") == listed("root=o/s*") == ["o/s1/a", "o/s1/b", "o/s2/a"]
    assert listed("root=[o/s*/b,o/t]") == ["o/s1/b", "o/t/a"]
    assert ebm("runs", "o/u*")[::2] == (1, "ebm: root=o/u*: matches nothing\n")
    assert ebm("runs", "o/*.txt")[::2] == (1, "ebm: root=o/*.txt: not a directory\n")


@pytest.mark.parametrize(("seconds", "text"), [(-3, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (200_000, "2d")])
def test_format_age_uses_the_largest_unit(seconds: float, text: str) -> None:
    assert runs.format_age(seconds) == text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_a_narrow_screen_shows_every_number_and_path_whole(tmp_path: Path, width: int) -> None:
    path = tmp_path / "a" / ("folder" * 20)
    write_run(
        path, {"state": "finished", "step": 8000, "steps": 8000, "started": time.time() - 7300}, {"eval/kl": 0.012345}
    )
    screen = terminal(width)
    runs._print(screen, runs._table(find(tmp_path), time.time()))
    words = output_of(screen).split()
    assert {"8000/8000", "0.01235", "2h", str(path)} <= set(words)
    others = [line for line in output_of(screen).splitlines() if str(path) not in line]
    assert max(map(len, others), default=0) <= width
