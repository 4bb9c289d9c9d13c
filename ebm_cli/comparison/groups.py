"""Runs in groups: mean and spread of every result over a group's runs, and the best groups of each data set.

Only finished runs count: an unfinished or diverged one is listed with its reason, and does not enter a mean.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ebm_cli.comparison.columns import COSTS, QUALITIES, Column, column_of
from ebm_cli.comparison.settings import format_setting
from ebm_cli.comparison.spread import Spread
from ebm_cli.evaluation.values import brief
from ebm_cli.runs.record import Record
from ebm_cli.runs.status import EARLY

DATASET = "dataset"


@dataclass(frozen=True)
class Group:
    """Runs that differ by chance alone.

    Attributes:
        names: the group's value of each key in `by`, as text.
        label: what distinguishes it from the others of its section.
        records: its runs, all finished.
        spreads: column's key → spread; absent where no run has the result.
        shown: the names with fewer digits, where they remain different.
    """

    names: tuple[str, ...]
    label: str
    records: tuple[Record, ...]
    spreads: Mapping[str, Spread]
    shown: tuple[str, ...]

    def median(self, column: Column | None) -> Record:
        """The median run by this column, the lower one of two: the one whose picture is shown."""
        found = [(None if column is None else column.value(record), i) for i, record in enumerate(self.records)]
        known = sorted((value, i) for value, i in found if value is not None)
        return self.records[known[(len(known) - 1) // 2][1]] if known else self.records[0]


@dataclass(frozen=True)
class Section:
    """The groups that may be compared with each other: those of one data set.

    Attributes:
        name: the data set; empty where the runs' data sets are mixed.
        groups: best first.
        ranking: the column that orders them; None where no column can.
        references: column's key → the value of the true density, where that is known.
        best: column's key → the names of its best groups, where at least two have the result.
    """

    name: str
    groups: tuple[Group, ...]
    ranking: Column | None
    references: Mapping[str, float]
    best: Mapping[str, frozenset[tuple[str, ...]]]

    def present(self, columns: Iterable[Column]) -> list[Column]:
        """The columns in which a group of it has a value."""
        return [column for column in columns if any(column.key in group.spreads for group in self.groups)]


@dataclass(frozen=True)
class Comparison:
    """Groups of runs by data set, with their columns.

    Attributes:
        by: the keys that make the groups.
        rows: those that distinguish the groups of one section.
        qualities, costs: the columns.
        sections: one a data set.
        excluded: runs that are not counted, with the reason.
    """

    by: tuple[str, ...]
    rows: tuple[str, ...]
    qualities: tuple[Column, ...]
    costs: tuple[Column, ...]
    sections: tuple[Section, ...]
    excluded: tuple[tuple[Record, str], ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """Quality, then cost."""
        return self.qualities + self.costs

    @property
    def groups(self) -> list[Group]:
        """The groups of all sections."""
        return [group for section in self.sections for group in section.groups]


def exclusion_reason(record: Record) -> str | None:
    """Why a run is not counted; None for one that is."""
    at = "" if record.step is None else f" at step {record.step}" + (f" of {record.steps}" if record.steps else "")
    if record.state == "finished":
        return None if record.results else "finished, but without results"
    reasons = {
        "running": f"still running{at}",
        "lost": f"its process is gone{at}",
        "broken": record.problem,
    }
    return reasons.get(record.state) or record.reason.removeprefix(f"{EARLY} ") or f"{record.state}{at}"


def compare(records: Iterable[Record], by: Sequence[str], metrics: Sequence[str] | None = None) -> Comparison:
    """Group the finished runs, and rank the groups of each data set.

    Args:
        records: the runs.
        by: config keys and group names; runs that agree in all of them are one group.
        metrics: keys of results.json, the columns of quality; the first that can ranks. None takes those of `QUALITIES`
            that some run has.
    """
    with_reasons = [(record, exclusion_reason(record)) for record in records]
    counted = [record for record, reason in with_reasons if reason is None]
    wanted = QUALITIES if metrics is None else [column_of(key) for key in metrics]
    qualities = tuple(c for c in wanted if any(c.value(r) is not None for r in counted))
    costs = tuple(c for c in COSTS if c not in qualities and any(c.value(r) is not None for r in counted))
    rows = tuple(key for key in by if key != DATASET)
    has_one_dataset = len({format_setting(record.get(DATASET)) for record in counted}) == 1
    by_section: dict[str, dict[tuple[str, ...], list[Record]]] = {}
    for record in counted:
        section = format_setting(record.get(DATASET)) if DATASET in by or has_one_dataset else ""
        names = tuple(format_setting(record.get(key)) for key in by)
        by_section.setdefault(section, {}).setdefault(names, []).append(record)
    shown = _shown([names for groups in by_section.values() for names in groups])
    sections = tuple(
        _section(
            name,
            [_group(by, shown[names], names, found, qualities + costs) for names, found in groups.items()],
            qualities,
        )
        for name, groups in sorted(by_section.items())
    )
    excluded = tuple((record, reason) for record, reason in with_reasons if reason is not None)
    return Comparison(tuple(by), rows, qualities, costs, sections, excluded)


def _shown(names: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Names of groups → as they are shown: values that a search has drawn with four digits, if none becomes another."""
    short = {found: tuple(map(brief, found)) for found in names}
    return short if len(set(short.values())) == len(short) else {found: found for found in names}


def _group(
    by: Sequence[str],
    shown: tuple[str, ...],
    names: tuple[str, ...],
    records: list[Record],
    columns: Sequence[Column],
) -> Group:
    # The name of an option is clear by itself, a number needs its key.
    parts = [
        name if any(key in record.options for record in records) else f"{key}={name}"
        for key, name in zip(by, shown, strict=True)
        if key != DATASET
    ]
    spreads = {}
    for column in columns:
        values = [value for record in records if (value := column.value(record)) is not None]
        if values:
            spreads[column.key] = Spread.of(values)
    return Group(names, ", ".join(parts) or "all runs", tuple(records), spreads, shown)


def _section(name: str, groups: list[Group], qualities: Sequence[Column]) -> Section:
    # The first that all groups have, else the one that most have: a column with gaps ranks badly.
    able = [c for c in qualities if c.is_ranked]
    ranking = max(able, key=lambda c: sum(c.key in group.spreads for group in groups), default=None)
    if ranking is not None:
        key, loss = ranking.key, ranking.loss
        groups.sort(key=lambda g: (key not in g.spreads, loss(g.spreads[key].mean) if key in g.spreads else 0.0))
    references = _references(groups, qualities)
    best = {}
    for column in {c.key: c for c in (*qualities, *COSTS)}.values():
        # A value better than that of the data is so by chance: all such groups are equally good.
        limit = column.loss(references[column.key]) if column.key in references else -math.inf
        means = {g.names: g.spreads[column.key].mean for g in groups if column.key in g.spreads}
        losses = {names: max(column.loss(mean), limit) for names, mean in means.items()}
        if column.is_ranked and len(losses) > 1:
            best[column.key] = frozenset(names for names, x in losses.items() if x == min(losses.values()))
    return Section(name, tuple(groups), ranking, references, best)


def _references(groups: Sequence[Group], qualities: Sequence[Column]) -> dict[str, float]:
    """Mean over the runs of the value of the true density, for each column in which a group has a value."""
    records = [record for group in groups for record in group.records]
    present = [c for c in qualities if any(c.key in group.spreads for group in groups)]
    found = {c.key: [v for record in records if (v := c.reference(record)) is not None] for c in present}
    return {key: math.fsum(values) / len(values) for key, values in found.items() if values}
