"""The jobs of a sweep, best first: one table at its end, and the command that compares them.

A row is one run; means over seeds and significance tests are `ebm compare`'s. Runs on several data sets are ranked on
each, because their results are not comparable.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebm_cli.comparison.columns import QUALITIES, Column
from ebm_cli.comparison.groups import DATASET, exclusion_reason
from ebm_cli.comparison.settings import format_setting, keys_that_group, settings_of
from ebm_cli.evaluation.values import brief, format_value, number
from ebm_cli.reporting.closing_panel import OVERALL_STYLES
from ebm_cli.reporting.commands import print_commands, shell_command
from ebm_cli.reporting.console import duration, relative_path
from ebm_cli.reporting.narrow import Fitting
from ebm_cli.runs.overrides import read_overrides
from ebm_cli.runs.record import Record, read
from ebm_cli.runs.status import EARLY

CHANCE = frozenset({"seed", "dataset.seed"})
"""Keys that make repetitions of one experiment."""
SEARCH = "search.json"
"""File of a sweep's directory with the best trial of a search, see `cli.search`."""
MOST_ROWS = 50
"""Rows of a table that are printed."""


class Ranking(NamedTuple):
    """Runs on one data set.

    Attributes:
        dataset: empty if the sweep has one data set only.
        column: that ranks them; None if no run has a result that can.
        ranked: with a value, best first.
        others: without one.
    """

    dataset: str
    column: Column | None
    ranked: tuple[Record, ...]
    others: tuple[Record, ...]


def print_ranking(sweep: Path, runs: Sequence[Path], console: Console) -> None:
    """Print the jobs of a sweep that trained, ranked, and the command that compares them; nothing for a single job.

    Args:
        sweep: its directory.
        runs: directories of its jobs.
        console: where to print.
    """
    records = [read(run) for run in runs if (run / "status.json").exists()]
    if len(records) < 2:
        return
    typed = {record.path: read_overrides(record.path) for record in records}
    keys = differing(list(typed.values()))
    console.print()
    print_tables(records, typed, keys, console)
    unfinished = [(record, reason) for record in records if (reason := exclusion_reason(record)) is not None]
    for record, reason in unfinished:
        style = "yellow" if record.outcome == EARLY else "red"
        line = Text.assemble((f"{record.outcome:<13}", style), f" job {record.path.name}  {reason}")
        console.print(line, soft_wrap=True)
    if len(unfinished) < len(records):
        print_commands(console, [compare_command(sweep, records, keys), *_command_of_a_search(sweep)])


def print_tables(
    records: Sequence[Record],
    typed: Mapping[Path, Mapping[str, str]],
    keys: Sequence[str],
    console: Console,
    *,
    trained: bool = True,
) -> None:
    """Print the runs, ranked, one table a data set.

    Args:
        records: of the runs.
        typed: run → its overrides.
        keys: of the overrides in which they differ.
        console: where to print.
        trained: whether they have trained, and took a time for it that is shown.
    """
    for ranking in rank(records):
        settings = settings_of_jobs(typed, [key for key in keys if key != DATASET or not ranking.dataset])
        console.print(Fitting(_table(ranking, settings, trained)))
        hidden = len(ranking.ranked) - MOST_ROWS
        if hidden > 0:
            console.print(Text(f"and {hidden} more", style="dim"))


def settings_of_jobs(typed: Mapping[Path, Mapping[str, str]], keys: Sequence[str]) -> dict[Path, str]:
    """Run → its overrides of these keys; numbers that a search has drawn have four digits."""
    return {
        path: " ".join(f"{key}={brief(words[key])}" for key in keys if key in words) for path, words in typed.items()
    }


def rank(records: Iterable[Record]) -> list[Ranking]:
    """Rank the finished runs of each data set by the first result that most of them have."""
    finished = [record for record in records if exclusion_reason(record) is None]
    by_dataset: dict[str, list[Record]] = {}
    for record in finished:
        by_dataset.setdefault(format_setting(record.get(DATASET)), []).append(record)
    return [_rank(name if len(by_dataset) > 1 else "", found) for name, found in sorted(by_dataset.items())]


def differing(typed: Sequence[dict[str, str]]) -> list[str]:
    """Keys of the overrides in which the jobs of a sweep differ, in the order in which they were typed."""
    keys = dict.fromkeys(key for words in typed for key in words if not key.startswith("hydra"))
    return [key for key in keys if len({words.get(key) for words in typed}) > 1]


def compare_command(sweep: Path, records: Sequence[Record], keys: Sequence[str]) -> str:
    """The command that compares the runs of a sweep, grouped by what they differ in except seeds.

    `by` is left out where `by=auto`, its default, makes the same groups.
    """
    known = {key for record in records for key in settings_of(record)}
    by = [key for key in keys if key in known and key not in CHANCE]
    counted = [record for record in records if exclusion_reason(record) is None]
    is_auto = _groups(counted, by) == _groups(counted, keys_that_group(counted))
    return shell_command("compare", {"runs": relative_path(sweep), **({} if is_auto else {"by": by})})


def _groups(records: Sequence[Record], by: Sequence[str]) -> set[frozenset[Path]]:
    """The runs of each group that these keys make."""
    groups: dict[tuple[str, ...], set[Path]] = {}
    for record in records:
        groups.setdefault(tuple(format_setting(record.get(key)) for key in by), set()).add(record.path)
    return {frozenset(group) for group in groups.values()}


def _command_of_a_search(sweep: Path) -> list[str]:
    """The command that trains the best trial of a search; none after a grid."""
    try:
        return [str(json.loads((sweep / SEARCH).read_text(encoding="utf-8"))["command"])]
    except (OSError, ValueError, LookupError):
        return []


def _rank(dataset: str, records: list[Record]) -> Ranking:
    able = [column for column in QUALITIES if column.is_ranked]
    counts = {column: sum(column.value(record) is not None for record in records) for column in able}
    column = max(counts, key=counts.__getitem__) if any(counts.values()) else None
    if column is None:
        return Ranking(dataset, None, (), tuple(records))
    found = [(value, record) for record in records if (value := column.value(record)) is not None]
    ranked = [record for _, record in sorted(found, key=lambda pair: column.loss(pair[0]))]
    return Ranking(dataset, column, tuple(ranked), tuple(record for record in records if record not in ranked))


def _table(ranking: Ranking, settings: Mapping[Path, str], trained: bool) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, title=ranking.dataset or None, title_justify="left")
    column = ranking.column
    for name, side in (
        ("", "right"),
        ("job", "right"),
        ("settings", "left"),
        (column.label if column else "", "right"),
    ):
        table.add_column(name, justify="right" if side == "right" else "left", no_wrap=True)
    table.add_column("overall", no_wrap=True)
    if trained:
        table.add_column("trained in", justify="right", no_wrap=True)
    for place, record in enumerate((*ranking.ranked, *ranking.others)[:MOST_ROWS], start=1):
        value = None if column is None else column.value(record)
        word, seconds = str(record.results.get("eval/overall", "")), number(record.results, "cost/seconds")
        table.add_row(
            "" if value is None else str(place),
            record.path.name,
            Text(settings[record.path]),
            format_value(value),
            Text(word, style=OVERALL_STYLES.get(word, "")),
            *(["" if seconds is None else duration(seconds)] if trained else []),
        )
    return table
