"""The table of samples by coordinate: every number whole at any width, and the worst of many rows."""

from typing import Any

import pytest

from ebm_cli.reporting.coordinate_table import coordinate_table
from tests.reporting.support import output_of, terminal


def row(name: str, rhat: float | None = 1.0, ess: float | None = 5000.0) -> dict[str, Any]:
    numbers = {"mean": -12345.678, "mcse_mean": 0.0123456, "sd": 9.87654e-9, "q5": -1.5, "q50": 0.25, "q95": 1.5}
    return {"name": name, **numbers, "rhat": rhat, "ess_bulk": ess, "ess_tail": ess}


@pytest.mark.parametrize(
    ("width", "heads"),
    [
        (40, ["mean"]),
        (80, ["mean", "± MCSE", "sd", "R-hat", "ESS"]),
        (120, ["mean", "± MCSE", "sd", "5 %", "50 %", "95 %", "R-hat", "ESS", "tail ESS"]),
    ],
)
def test_every_number_is_whole_at_any_width(width: int, heads: list[str]) -> None:
    screen = terminal(width)
    table = coordinate_table([row("age"), row("income in a long currency", None, None)], width)
    screen.print(table)
    text = output_of(screen)
    assert [column.header for column in table.columns[1:]] == heads
    assert all(head in text for head in heads)
    assert all(
        number in text
        for number in ("age", "-12 346", "income in a long cu…", *(["9.877e-09", "1.000", "–"] if width > 40 else []))
    )
    assert ("more columns in results.json" in text) == (width < 120)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())


def test_many_coordinates_show_the_worst() -> None:
    """The largest R̂ first, then the smallest ESS; shown in the order of the coordinates."""
    rows = [row(f"x{i}") for i in range(30)] + [row("slow", 1.0, 10.0), row("apart", 1.7)]
    screen = terminal(120)
    screen.print(coordinate_table(rows, 120, most=2))
    text = output_of(screen)
    assert "the 2 worst of 32 coordinates" in text
    assert text.index("slow") < text.index("apart")
    assert "x0" not in text
