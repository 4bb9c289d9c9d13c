"""KL of several methods on several data sets, as a table and a figure."""

from pathlib import Path

import pytest

from ebm_cli.lecture import QualityByData
from ebm_cli.reporting.figures.chart import empty_chart
from tests.claims.records import make_record


def test_table_has_each_method_on_each_data_set(tmp_path: Path) -> None:
    lines = [f'{{"step": {i}, "train/accuracy": {0.1 if i < 5 else 0.8}}}' for i in range(15)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    costs = {"cost/seconds": 2.0, "cost/grad_evals": 0.0, "cost/laplacian_evals": 1.0}
    runs = [
        make_record({"eval/kl": kl, **costs, **flow}, method=method, dataset=data)._replace(path=path)
        for kl, method, data, flow, path in (
            (0.1, "nce", "two_moons", {}, tmp_path),
            (0.3, "nce", "two_moons", {}, tmp_path),
            (0.5, "fce", "two_moons", {"eval/flow_kl": 0.9}, tmp_path / "none"),
            (0.7, "nce", "rings", {"eval/noise_kl": 0.4}, tmp_path),
        )
    ]
    claim = QualityByData("method", {"nce": "contrast"}, "title")
    outcome = claim.measure(runs)
    assert [(row["data set"], row["series"]) for row in outcome.rows] == [
        ("two moons", "contrast"),
        ("two moons", "fce"),
        ("rings", "contrast"),
    ]
    assert [row["KL(data‖model), nats"] for row in outcome.rows] == pytest.approx([0.2, 0.5, 0.7])
    assert [row["KL of its flow"] for row in outcome.rows] == [None, 0.9, 0.4]
    assert outcome.rows[0]["accuracy"] == pytest.approx(0.8)
    assert outcome.rows[1]["accuracy"] is None
    figure = empty_chart()
    claim.draw(figure, outcome)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["two\nmoons", "rings"]
    assert figure.axes[0].get_legend_handles_labels()[1] == ["contrast", "fce"]
