"""Noise contrastive estimation against the distance of its noise, and the log Z that it trains."""

from pathlib import Path
from typing import Any

import pytest

from ebm_cli.claims.noise_contrastive import error_limit
from ebm_cli.lecture import LearnedLogZ, Measurement, NoiseDistance
from ebm_cli.lecture.base import Outcome
from ebm_cli.reporting.figures.chart import empty_chart
from tests.claims.records import make_record, nce_run


def drawn(measurement: Measurement, outcome: Outcome) -> list[Any]:
    """Axes of the figure."""
    figure = empty_chart()
    measurement.draw(figure, outcome)
    return list(figure.axes)


def test_noise_of_the_data_has_no_distance(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/accuracy": 0.75}\n')
    results = {"eval/kl": 0.02, "eval/objective": 1.0}
    runs = [nce_run(1000, 0.04, noise={"widen": w})._replace(results=results, path=tmp_path) for w in (3.0, 1.0)]
    outcome = NoiseDistance().measure(runs)
    near, far = outcome.rows
    assert near["KL(data‖noise), nats"] == 0
    assert far["KL(data‖noise), nats"] == pytest.approx(5 * (1.0986123 + 1 / 18 - 0.5))
    assert near["in theory, nats"] == pytest.approx(error_limit(5, 1, 1) / 2000)
    assert (far["accuracy"], far["loss, nats"], far["KL(data‖model), nats"]) == (0.75, 1.0, 0.02)
    [ax] = drawn(NoiseDistance(), outcome)
    assert [text.get_text() for text in ax.texts] == ["75 %", "75 %"]


def test_gap_of_log_z_is_its_root_mean_square(tmp_path: Path) -> None:
    lines = ['{"step": 1, "train/log_z": 2.0}', '{"step": 2, "train/log_z": 1.0, "eval/log_z": 0.5}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    runs = [
        make_record({"eval/log_z_gap": gap, "eval/log_z": 0.5})._replace(
            path=tmp_path, hydra_choices={"noise": "uniform"}, config={"dataset": {"n_train": n}}
        )
        for n, gap in ((100, 0.3), (100, -0.4), (400, 0.1))
    ]
    outcome = LearnedLogZ().measure(runs)
    assert [row["rows"] for row in outcome.rows] == [100, 400]
    assert outcome.rows[0]["rms gap, nats"] == pytest.approx((0.125) ** 0.5)
    assert outcome.drawn["uniform"] == ([(1, 2.0), (2, 1.0)], [(2, 0.5)])
    left, right = drawn(LearnedLogZ(), outcome)
    assert left.get_ylabel() == "log Z, nats"
    assert list(right.lines[0].get_ydata()) == [row["rms gap, nats"] for row in outcome.rows]
