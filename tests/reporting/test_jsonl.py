"""metrics.jsonl: lines on disk at once, one a step, and cut back on resume."""

import json
import math
from pathlib import Path

import pytest

from ebm_cli.reporting import jsonl


def test_write_puts_a_flat_json_line_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with jsonl.JsonLines(path) as lines:
        lines.write(5, {"train/loss": 0.5, "eval/log_z_method": "grid"})
        assert json.loads(path.read_text()) == {"step": 5, "train/loss": 0.5, "eval/log_z_method": "grid"}


def test_write_adds_to_the_line_of_the_same_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with jsonl.JsonLines(path) as lines:
        lines.write(5, {"train/loss": 0.5})
    with jsonl.JsonLines(path) as lines:
        lines.write(5, {"eval/kl": 0.1})
    assert jsonl.read(path) == [{"step": 5, "train/loss": 0.5, "eval/kl": 0.1}]


def test_dumps_writes_null_for_non_finite_numbers() -> None:
    assert jsonl.dumps({"a": math.nan, "b": -math.inf, "c": 1.0}) == '{"a": null, "b": null, "c": 1.0}'


def test_cut_back_leaves_no_step_twice(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with jsonl.JsonLines(path) as lines:
        for step in (10, 20, 30):
            lines.write(step, {"train/loss": float(step)})
    jsonl.cut_back(path, 20)
    with jsonl.JsonLines(path) as lines:
        lines.write(30, {"train/loss": 0.25})
    assert [(row["step"], row["train/loss"]) for row in jsonl.read(path)] == [(10, 10.0), (20, 20.0), (30, 0.25)]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("torn", ['{"step": 30, "train/lo', '{"step": 3', "\x00\x00", "17"])
def test_cut_back_drops_an_incomplete_last_line(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 10}\n' + torn)
    jsonl.cut_back(path, 100)
    assert path.read_text() == '{"step": 10}\n'


def test_cut_back_rejects_a_broken_line_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 10}\nnonsense\n{"step": 20}\n')
    with pytest.raises(ValueError, match="line 2 is not"):
        jsonl.cut_back(path, 20)
    assert path.read_text() == '{"step": 10}\nnonsense\n{"step": 20}\n'


def test_cut_back_makes_no_file(tmp_path: Path) -> None:
    jsonl.cut_back(tmp_path / "metrics.jsonl", 3)
    assert not list(tmp_path.iterdir())
