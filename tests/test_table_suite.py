"""The script of the table suite: it measures what its file lacks, and judges the runs of several directories."""

import json
from pathlib import Path

import pytest

from tests.support import TINY, Ebm, no_pictures
from tests.table_suite import main

BASELINES = {"shell/0/200": {"mixture": 0.05, "flow": 0.06, "seconds": 1e6}}


@pytest.mark.slow
def test_script_judges_runs_of_two_directories_together(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    no_pictures(monkeypatch)
    (tmp_path / "b.json").write_text(json.dumps(BASELINES))
    table = ("dataset=table_suite", "dataset.name=shell", "dataset.n_rows=200", "steps=2")
    for method in ("nce", "sm"):
        assert ebm("train", *TINY, *table, f"method={method}", f"hydra.run.dir={method}").code == 0
    capfd.readouterr()
    assert main(["judge", str(tmp_path / "b.json"), "nce", "sm"]) == 1
    out = capfd.readouterr().out
    assert "shell: mixture 0.0500" in out
    # Without the group of masses tails and range are unknown: two statements a run.
    assert "sm/0 tail unknown" in out.replace("\n", " ")
    assert "of 6 statements fail" in out


def test_script_measures_the_named_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "b.json"
    assert main(["baselines", str(file), "0.05", "1", "correlated"]) == 0
    assert list(json.loads(file.read_text())) == ["correlated/1/all"]
    assert capsys.readouterr().out.startswith("correlated/1: mixture 0.")


def test_script_prints_its_words_for_wrong_ones(capsys: pytest.CaptureFixture[str]):
    assert main(["measure"]) == 2
    assert "python -m tests.table_suite judge" in capsys.readouterr().out
