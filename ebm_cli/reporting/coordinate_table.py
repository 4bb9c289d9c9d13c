"""A summary of samples by coordinate as a table: all of few coordinates, the worst of many."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ebm_cli.evaluation.chain_verdicts import ENOUGH, MIXED
from ebm_cli.evaluation.values import format_value

MOST = 10
"""Coordinates in a table."""
COLUMNS = {
    "mean": "mean",
    "mcse_mean": "± MCSE",
    "sd": "sd",
    "q5": "5 %",
    "q50": "50 %",
    "q95": "95 %",
    "rhat": "R-hat",
    "ess_bulk": "ESS",
    "ess_tail": "tail ESS",
}
"""Key of a row of `summarise_coordinates` → head of its column."""
IMPORTANT = ("mean", "sd", "rhat", "ess_bulk", "mcse_mean", "q5", "q95", "q50", "ess_tail")
"""The columns in the order in which they are given room: a narrow terminal shows the first ones, each number whole."""
GAP, LONGEST_NAME = 3, 20
"""Blanks between two columns; characters of a name."""


def coordinate_table(rows: Sequence[Mapping[str, Any]], width: int, most: int = MOST) -> Table:
    """Build the table of the rows of `evaluation.coordinate_summary.summarise_coordinates`.

    Args:
        rows: one a coordinate.
        width: of the terminal, characters.
        most: rows to show: of more, those with the largest R̂, and the smallest ESS among equals, in their own order.
    """
    shown = range(len(rows)) if len(rows) <= most else sorted(sorted(range(len(rows)), key=_goodness(rows))[:most])
    title = "samples by coordinate" if len(shown) == len(rows) else f"the {most} worst of {len(rows):,} coordinates"
    cells = {key: [format_value(rows[i][key]) for i in shown] for key in COLUMNS}
    names = [str(rows[i]["name"]) for i in shown]
    names = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    table.add_column("", style="cyan", no_wrap=True)
    keys = _fitting(cells, width - GAP - 2 - max(map(len, names)))
    for key in keys:
        table.add_column(COLUMNS[key], justify="right", no_wrap=True)
    for line, (i, name) in enumerate(zip(shown, names, strict=True)):
        numbers = [Text(cells[key][line], style=_style(key, rows[i][key])) for key in keys]
        table.add_row(Text(name), *numbers)
    if len(keys) < len(COLUMNS):
        table.caption = "more columns in results.json"
    return table


def _fitting(cells: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """The most important columns that fit side by side, in the order of `COLUMNS`."""
    chosen: set[str] = set()
    for key in IMPORTANT:
        width -= max(map(len, (COLUMNS[key], *cells[key]))) + GAP
        if width < 0:
            break
        chosen.add(key)
    return [key for key in COLUMNS if key in chosen]


def _goodness(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Sort key of the positions of rows: the worst first."""

    def of_row(i: int) -> tuple[float, float]:
        rhat, ess = rows[i]["rhat"], rows[i]["ess_bulk"]
        return (0.0 if rhat is None else -rhat, float("inf") if ess is None else ess)

    return of_row


def _style(key: str, value: float | None) -> str:
    """Yellow for an R̂ or an ESS that is not good enough."""
    if value is None:
        return ""
    return "yellow" if (key == "rhat" and value >= MIXED) or (key.startswith("ess") and value <= ENOUGH) else ""
