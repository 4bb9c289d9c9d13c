"""Numbers of finished runs: means over a setting, and curves of their logs."""

import math
from pathlib import Path

from ebm_cli.lecture.run_numbers import by_setting, curve, last_logged, mean_result
from tests.claims.records import make_record


def test_runs_are_grouped_in_ascending_order() -> None:
    runs = [make_record({"eval/kl": float(k)}, noise={"widen": k}) for k in (10, 2, 10)]
    grouped = by_setting(runs, "noise.widen")
    assert list(grouped) == [(2,), (10,)]
    assert [len(alike) for alike in grouped.values()] == [1, 2]
    assert mean_result(runs, "eval/kl") == 22 / 3


def test_curve_has_the_lines_with_all_of_the_keys(tmp_path: Path) -> None:
    lines = [
        '{"step": 1, "a": 2, "b": 3}',
        '{"step": 2, "a": 4}',
        '{"step": 3, "a": 5, "b": NaN}',
        '{"step": 4, "b": 7}',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    run = make_record({})._replace(path=tmp_path)
    assert curve(run, "a") == [(1, 2), (2, 4), (3, 5)]
    assert curve(run, "a", "b") == [(1, 2, 3)]
    assert last_logged(run, "b") == 7
    assert math.isnan(last_logged(run, "c"))
    assert curve(make_record({})._replace(path=tmp_path / "none"), "a") == []
