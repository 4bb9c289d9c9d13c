"""Charts of quality against cost."""

import re

import pytest

from ebm_cli.comparison import charts


def test_chart_draws_a_cost_of_zero() -> None:
    clouds = [charts.Cloud("nce", 0, [(0.0, 0.1), (0.0, 0.2)]), charts.Cloud("sm", 1, [(1e5, 0.3)])]
    svg = charts.quality_against_cost(clouds, "cost", "KL", log_y=True)
    assert svg.startswith("<svg")
    assert {charts.COLOURS[0], charts.COLOURS[1]} <= set(re.findall(r"#\w{6}", svg))
    assert charts.COLOURS[2] not in svg
    assert "currentColor" in svg
    assert not re.search(r"(src|href)=.https?:", svg)


def test_data_uri_contains_the_file() -> None:
    assert charts.data_uri(b"\x89PNG") == "data:image/png;base64,iVBORw=="
    assert charts.data_uri("<svg/>") == "data:image/svg+xml;base64,PHN2Zy8+"


def test_number_labels_counts_distinct_labels() -> None:
    assert charts.number_labels(["nce", "sm", "nce", "cd"]) == {"nce": 0, "sm": 1, "cd": 2}


@pytest.mark.parametrize(("low", "high"), [(1.06, 1.34), (0.2, 0.6), (0.002, 0.7), (0.1, 0.1), (3.0, 9e4)])
def test_every_tick_of_a_chart_is_labelled(low: float, high: float) -> None:
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    ax.set_yscale("log")
    ax.set_ylim(low / 1.1, high * 1.1)
    charts._label_plainly(ax.yaxis, [low, high])
    assert list(ax.yaxis.get_minorticklocs()) == []
    labels = {tick.get_position()[1]: tick.get_text() for tick in ax.get_yticklabels()}
    inside = [at for at in labels if low / 1.1 <= at <= high * 1.1]
    assert len(inside) >= 2
    assert [float(labels[at]) for at in inside] == pytest.approx(inside)
