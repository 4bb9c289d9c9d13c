"""Charts of quality against cost."""

import re

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
