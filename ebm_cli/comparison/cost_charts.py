"""Quality against cost: the runs of a section as points, in one chart for each cost that they have recorded."""

from collections.abc import Callable, Iterable, Mapping

from ebm_cli.comparison import charts
from ebm_cli.comparison.columns import Column
from ebm_cli.comparison.groups import Section
from ebm_cli.evaluation.values import number
from ebm_cli.reporting.optional_pictures import optional
from ebm_cli.runs.record import Record


def against_cost(
    section: Section, column: Column, numbers: Mapping[str, int], notes: list[str]
) -> list[tuple[str, str]]:
    """Draw the charts.

    Args:
        section: whose groups are drawn.
        column: the quality.
        numbers: of the groups by their labels, which give their colours.
        notes: gets a line for a chart that cannot be drawn.

    Returns:
        What each chart shows, and its SVG.
    """
    drawn = []
    for name, cost in (("training time, s", _seconds), ("evaluations of ∇ₓf in all", _gradients)):
        clouds = [
            charts.Cloud(group.label, numbers[group.label], _points(group.records, cost, column))
            for group in section.groups
        ]
        if any(x > 0 for cloud in clouds for x, _ in cloud.points):
            alt = f"{column.label} of each group against {name}"
            with optional(f"the chart of {alt}", notes):
                drawn.append((alt, charts.quality_against_cost(clouds, name, column.label, not column.result.signed)))
    return drawn


def _points(
    records: Iterable[Record], cost: Callable[[Record], float | None], column: Column
) -> list[tuple[float, float]]:
    pairs = [(cost(record), column.value(record)) for record in records]
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _seconds(record: Record) -> float | None:
    return number(record.results, "cost/seconds")


def _gradients(record: Record) -> float | None:
    """Evaluations of the whole run: those of a step per row, times rows and steps."""
    evals, batch_size = number(record.results, "cost/grad_evals"), number(record.config, "batch_size")
    return None if evals is None or record.step is None or batch_size is None else evals * record.step * batch_size
