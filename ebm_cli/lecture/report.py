"""The end of a measurement: claim, numbers and verdicts printed; numbers.json and one figure written."""

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich import box
from rich.table import Table
from rich.text import Text

from ebm_cli.claims import Verdict
from ebm_cli.config.build import build
from ebm_cli.config.trust import trust_of
from ebm_cli.lecture.base import Measurement, Row
from ebm_cli.reporting.console import make_console, relative_path
from ebm_cli.reporting.figures.canvas import save
from ebm_cli.reporting.figures.chart import empty_chart
from ebm_cli.runs.record import Record
from ebm_cli.system.files import write_json

NUMBERS, FIGURE = "numbers.json", Path("figures", "measurement.png")


def build_measurement(cfg: DictConfig) -> Measurement | None:
    """The measurement of a training config; None if it has none. Its `seed` is the run's if it has such a parameter.

    Raises:
        UserError: the node does not describe a measurement.
    """
    if cfg.measurement is None:
        return None
    found: Measurement = build(cfg.measurement, "measurement", Measurement, trust=trust_of(cfg), seed=cfg.seed)
    return found


def measured_verdicts(measurement: Measurement, directory: Path, runs: Sequence[Record]) -> list[tuple[str, Verdict]]:
    """Measure; print the claim and the numbers, write numbers.json and the figure; returns the verdicts.

    Args:
        measurement: whose claim is decided.
        directory: of the run, or of the sweep.
        runs: those of the experiment; only finished ones are measured on.
    """
    outcome = measurement.measure([run for run in runs if run.state == "finished"])
    statements = [{"statement": name, "passed": v.passed, "what": v.what} for name, v in outcome.verdicts]
    numbers = {"claim": measurement.claim, "rows": [dict(row) for row in outcome.rows], "verdicts": statements}
    write_json(directory / NUMBERS, numbers)
    _print(measurement, outcome.rows)
    figure = empty_chart()
    measurement.draw(figure, outcome)
    (directory / FIGURE).parent.mkdir(exist_ok=True)
    save(figure, directory / FIGURE)
    _print_figure(directory)
    return list(outcome.verdicts)


def stored_verdicts(measurement: Measurement, directory: Path) -> list[tuple[str, Verdict]]:
    """Print the claim and the numbers that numbers.json holds; returns the verdicts, none without that file."""
    file = directory / NUMBERS
    if not file.is_file():
        return []
    numbers = json.loads(file.read_text(encoding="utf-8"))
    _print(measurement, numbers["rows"])
    _print_figure(directory)
    return [(one["statement"], Verdict(one["passed"], one["what"])) for one in numbers["verdicts"]]


def _print(measurement: Measurement, rows: Sequence[Row]) -> None:
    console = make_console()
    console.print(f"Claim: {measurement.claim}.", highlight=False, markup=False)
    console.print(numbers_table(rows))


def _print_figure(directory: Path) -> None:
    make_console().print(f"figure: {relative_path(directory / FIGURE)}", highlight=False, markup=False)


def numbers_table(rows: Sequence[Row]) -> Table:
    """The rows as a table, numbers with four digits, an empty cell for None."""
    table = Table(box=box.SIMPLE_HEAD)
    for title in rows[0] if rows else ():
        table.add_column(Text(title), justify="right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    return table


def _cell(value: float | int | str | None) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
