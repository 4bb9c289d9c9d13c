"""Overrides of a run, and those that a sweep varies."""

import json
from pathlib import Path

from ebm_cli.runs.overrides import read_overrides, settings_by_run
from ebm_cli.runs.record import read


def write_run(path: Path, words: list[str]) -> None:
    (path / ".hydra").mkdir(parents=True)
    (path / "status.json").write_text(json.dumps({"state": "finished"}))
    (path / ".hydra" / "overrides.yaml").write_text(json.dumps(words))


def test_overrides_are_read_by_their_keys(tmp_path: Path) -> None:
    write_run(tmp_path / "a", ["method=nce", "+note=x=y", "~ema", "hydra.run.dir=a"])
    assert read_overrides(tmp_path / "a") == {"method": "nce", "note": "x=y", "ema": "", "hydra.run.dir": "a"}
    assert read_overrides(tmp_path / "missing") == {}
    (tmp_path / "a/.hydra/overrides.yaml").write_text("[")
    assert read_overrides(tmp_path / "a") == {}


def test_job_shows_what_its_sweep_varies(tmp_path: Path) -> None:
    for number, width in enumerate((8, 16)):
        write_run(tmp_path / f"sweep/{number}", ["steps=5", f"energy.width={width}", f"seed={number}"])
    (tmp_path / "sweep/multirun.yaml").touch()
    write_run(tmp_path / "alone", ["steps=5", "method=cd", "hydra.run.dir=alone"])
    paths = [tmp_path / name for name in ("sweep/0", "sweep/1", "alone")]
    found = settings_by_run([read(path) for path in paths])
    assert [found[path] for path in paths] == [["energy.width=8"], ["energy.width=16"], ["steps=5"]]
