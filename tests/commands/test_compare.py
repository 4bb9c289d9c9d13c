"""`ebm compare`: which runs it takes, what it writes, and mistakes that end in one line."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ebm_cli.commands.compare import select_runs
from ebm_cli.errors import UserError
from tests.comparison.support import Runs
from tests.support import REPO, Ebm


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_compare_writes_its_files(ebm: Ebm, runs: Runs, tmp_path: Path) -> None:
    for kl in (0.1, 0.2):
        runs.write_kls("nce", kl)
        runs.write_kls("sm", 5 * kl)
    runs.write("cd", state="failed", reason="RuntimeError: no memory")
    ran = ebm("compare", "runs=runs/*", "pictures=false")
    assert (ran.code, ran.err) == (0, "")
    assert "moons: nce has the lowest KL, 0.150 ± 0.071 (2 runs); sm follows with 0.75 ± 0.35" in ran.out
    assert "RuntimeError: no memory" in ran.out
    [folder] = (tmp_path / "outputs" / "compare").glob("*/*")
    assert {path.name for path in folder.iterdir()} >= {"compare.csv", "compare.tex", "compare.html", ".hydra"}
    for name in ("compare.csv", "compare.tex", "compare.html"):
        assert str(folder / name).removeprefix(f"{tmp_path}/") in ran.out
    rows = list(csv.DictReader((folder / "compare.csv").read_text().splitlines()))
    assert [(row["method"], float(row["eval/kl"])) for row in rows] == [("nce", 0.15000000000000002), ("sm", 0.75)]


def test_compare_takes_lists_of_runs_and_metrics(ebm: Ebm, runs: Runs, tmp_path: Path) -> None:
    a, b, _ = (
        runs.write(m, results={"eval/kl": 0.1, "eval/nll": v}) for m, v in (("nce", 2.0), ("sm", 1.0), ("cd", 0.0))
    )
    words = [f"runs=[{a},{b}]", "by=method", "metrics=[eval/nll]", "pictures=false", "hydra.run.dir=here"]
    ran = ebm("compare", *words)
    assert ran.code == 0, ran.err
    assert "moons: sm has the lowest NLL, 1 (1 run); nce follows" in ran.out
    rows = list(csv.DictReader((tmp_path / "here" / "compare.csv").read_text().splitlines()))
    assert [row["method"] for row in rows] == ["sm", "nce"]
    assert "eval/kl" not in rows[0]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["runs=nowhere/*"], "runs=nowhere/*: matches nothing; ebm runs lists all runs"),
        (["runs=nowhere"], "runs=nowhere: no such directory; ebm runs lists all runs"),
        (["runs=empty"], "runs=empty: no run there (no directory at or below it has a status.json)"),
        (["runs=runs/*", "by=[method,energy.widht]"], "by: no run has a key energy.widht; did you mean energy.width?"),
        (
            ["runs=runs/*", "by=[energy]"],
            "by: energy is not a single value; name one of its keys, such as energy.width",
        ),
        (["runs=runs/*", "by=[]"], "by must have at least one entry, and none twice, got []"),
        (
            ["runs=runs/*", "by=[method,method]"],
            "by must have at least one entry, and none twice, got ['method', 'method']",
        ),
        (["runs=runs/*", "metrics=[eval/lk]"], "metrics: no run has a number eval/lk; did you mean eval/kl?"),
        (["runs=runs/*", "metrics=kl"], "metrics: no run has a number kl; did you mean eval/kl?"),
        (["runs=bad"], "runs=bad: no finished run to compare (bad/a: lower optimizer.lr)"),
        (
            [],
            "runs is required, type runs=…: a glob, a folder or a run, or a list of them; every run inside is compared",
        ),
    ],
)
def test_mistake_is_one_line_and_writes_nothing(
    ebm: Ebm, runs: Runs, tmp_path: Path, words: list[str], line: str
) -> None:
    runs.write(results={"eval/kl": 0.1})
    (tmp_path / "empty").mkdir()
    shutil.move(runs.write(state="diverged", reason="lower optimizer.lr"), tmp_path / "bad" / "a")
    ran = ebm("compare", *words)
    assert (ran.code, ran.out, ran.err) == (1, "", f"ebm: {line}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "empty", "runs"]


def test_select_runs_finds_each_run_once_at_any_depth(runs: Runs, tmp_path: Path) -> None:
    first, second = runs.write(results={}), runs.write(results={})
    everywhere = [str(tmp_path), str(tmp_path / "ru*"), str(first), str(tmp_path / "**" / "001")]
    assert [record.path for record in select_runs(everywhere)] == [first, second]
    odd = tmp_path / "a[b]*"
    shutil.copytree(first, odd)
    assert [record.path for record in select_runs([str(odd)])] == [odd]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no run there"):
        select_runs([str(tmp_path / "file")])


def test_compare_without_pictures_imports_no_torch(runs: Runs, tmp_path: Path) -> None:
    runs.write(results={"eval/kl": 0.1, "cost/seconds": 1.0})
    code = (
        "import sys; from ebm_cli.cli.main import main; "
        "code = main(['compare', 'runs=runs', 'pictures=false']); sys.exit(code or 'torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
