"""Work and seconds to a KL, for chains of several lengths and for methods without chains."""

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from ebm_cli.lecture import CostToLearn, Outcome, cost_to_learn
from ebm_cli.lecture.cost_to_learn import first_step, seconds_per_step
from ebm_cli.reporting.figures.chart import empty_chart
from ebm_cli.runs.record import Record
from tests.claims.records import make_record
from tests.lecture.measurements import passed
from tests.support import composed

KEYS: dict[str, Any] = {"target": 0.05, "series": "method", "fewest": 0.5, "long": 20}
CLAIM = CostToLearn(names={"cd1": "cd, k = 1", "cd20": "cd, k = 20", "nce": "nce"}, **KEYS)


def logged(path: Path, *lines: tuple[int, float], results: dict[str, float] | None = None, **keys: Any) -> Record:
    """A run whose KL was noted at these steps, 100 rows a step."""
    path.mkdir()
    text = "".join(json.dumps({"step": step, "eval/kl": kl}) + "\n" for step, kl in lines)
    (path / "metrics.jsonl").write_text(text)
    return make_record(results or {}, **keys, batch_size=100)._replace(path=path)


def measure(
    path: Path, monkeypatch: pytest.MonkeyPatch, steps: int = 100, last: float = 0.04, seconds: float = 0.001
) -> Outcome:
    """A chain of 20 steps that needs `steps`, one of one step and nce that need 100; nce takes `seconds` a step."""
    runs = []
    for name, needed, k in (("cd20", steps, 20), ("nce", 100, None), ("cd1", 100, 1)):
        config = {} if k is None else {"method": {"k": k}}
        results = {"cost/energy_evals": 2.0, "cost/grad_evals": float((k or -1) + 1), "cost/laplacian_evals": 0.0}
        run = logged(path / name, (needed // 2, 0.5), (needed, last), (2 * needed, 0.01), results=results)
        runs.append(run._replace(hydra_choices={"method": name}, config=run.config | config))
    times = {"cd1": 0.002, "cd20": 0.02, "nce": seconds}
    monkeypatch.setattr(cost_to_learn, "seconds_per_step", lambda run: times[run.path.name])
    return CLAIM.measure(runs)


def step_of_chains(k: int) -> float:
    """CPU seconds of a step of cd."""
    cfg = composed("method=cd", "compile=never", "threads=1", f"method.k={k}")
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    return seconds_per_step(make_record({})._replace(config=config))


def test_first_evaluation_at_the_target_ends_the_count(tmp_path: Path) -> None:
    run = logged(tmp_path / "a", (10, 0.2), (20, 0.05), (30, 0.3), (40, 0.01))
    assert first_step(run, 0.05) == 20
    assert first_step(run, 0.04) == 40
    assert first_step(run, 0.001) is None


def test_work_is_that_of_the_steps_to_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = measure(tmp_path, monkeypatch, steps=80)
    assert [row["setting"] for row in outcome.rows] == ["cd, k = 1", "cd, k = 20", "nce"]
    assert [row["∇f"] for row in outcome.rows] == [2 * 100 * 100, 21 * 100 * 80, 0]
    assert [row["f"] for row in outcome.rows] == [2 * 100 * 100, 2 * 100 * 80, 2 * 100 * 100]
    assert [row["CPU seconds"] for row in outcome.rows] == pytest.approx([0.2, 1.6, 0.1])
    assert all(passed(outcome).values())
    figure = empty_chart()
    CLAIM.draw(figure, outcome)
    assert [text.get_text() for text in figure.axes[1].texts] == ["none"]


@pytest.mark.parametrize(
    ("keys", "fails"),
    [
        ({"steps": 40}, "longer chains hardly save steps"),
        ({"seconds": 0.03}, "the inner loop is what costs"),
        ({"last": 0.06}, None),
    ],
)
def test_statement_that_does_not_hold_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], fails: str | None
) -> None:
    verdicts = passed(measure(tmp_path, monkeypatch, **keys))
    assert [name for name, holds in verdicts.items() if not holds] == ([] if fails is None else [fails])


def test_run_that_does_not_reach_the_target_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_to_learn, "seconds_per_step", lambda run: 0.001)
    costs = {"cost/energy_evals": 2.0, "cost/grad_evals": 0.0, "cost/laplacian_evals": 0.0}
    runs = [logged(tmp_path / f"{i}", (50, kl), results=costs, method="nce") for i, kl in enumerate((0.01, 0.3))]
    assert passed(CLAIM.measure(runs[:1])) == {"every method learns": True}
    outcome = CLAIM.measure(runs)
    assert passed(outcome) == {"every method learns": False}
    assert outcome.rows[0]["CPU seconds"] is None
    figure = empty_chart()
    CLAIM.draw(figure, outcome)
    assert [text.get_text() for text in figure.axes[1].texts] == ["not reached"]


def test_a_step_with_longer_chains_takes_longer() -> None:
    a, b = (step_of_chains(k) for k in (1, 60))
    assert b > 5 * a > 0


@pytest.mark.parametrize("keys", [{"target": 0.0}, {"fewest": 0.0}, {"fewest": 1.5}, {"long": 0}])
def test_keys_out_of_range_are_refused(keys: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        CostToLearn(names={}, **KEYS | keys)
