"""Runs in groups: mean and spread of every result over a group's runs, and what may be concluded from them.

    m = Σ x_i / n        s² = Σ (x_i − m)² / (n − 1),  for n ≥ 2

Whether a lead is more than the luck of the seeds is judged by Welch's t-test, v = s²/n:

    t = (m_a − m_b) / √(v_a + v_b)        p = 2 P(T_ν ≤ −|t|)        ν = (v_a + v_b)² / (v_a²/(n_a−1) + v_b²/(n_b−1))

Source: Welch (1947), Biometrika 34, 28–35. Only finished runs count: an unfinished or diverged one is listed with its
reason, and no number of it enters a mean.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from scipy.special import stdtr

from ebm_cli.comparison.columns import COSTS, QUALITIES, Measure, measure_of
from ebm_cli.reporting.format import format_value
from ebm_cli.runs.record import Record

MISSING = "–"
SIGNIFICANT = 0.05
DATASET = "dataset"
NOT_THE_MODEL = frozenset(
    {"seed", "dataset.seed", "checkpoint", "resume", "trust", "monitor", "metrics", "keep"}
    | {"log_every", "eval_every", "checkpoint_every"}
)
"""Keys in which the runs of a group may differ: chance, and what neither training nor its measure depends on."""


class Spread(NamedTuple):
    """A result over the n ≥ 1 runs of a group that have it; sd is None for n = 1."""

    mean: float
    sd: float | None
    n: int

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        """Mean and standard deviation (n − 1) of at least one value."""
        n = len(values)
        mean = math.fsum(values) / n
        return Spread(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else None, n)

    def parts(self) -> tuple[str, str]:
        """Mean and sd as text: two digits of the sd, the mean to the same decimal; no sd where it is 0, or n = 1."""
        if not self.sd:
            return format_value(int(self.mean) if self.mean.is_integer() else self.mean), ""
        size, digit = max(abs(self.mean), self.sd), math.floor(math.log10(self.sd))
        if not 1e-4 <= size < 1e6:
            digits = min(max(math.floor(math.log10(size)) - digit + 1, 1), 6)
            return f"{self.mean:.{digits}e}", f"{self.sd:.1e}"
        decimals = min(max(1 - digit, 0), 6)
        return f"{self.mean:.{decimals}f}", f"{self.sd:.{decimals}f}" if decimals < 6 else f"{self.sd:.1e}"

    def __str__(self) -> str:
        return " ± ".join(part for part in self.parts() if part)


@dataclass(frozen=True)
class Group:
    """Runs that differ by chance alone.

    Attributes:
        names: the group's value of each key in `by`, as text.
        label: what tells it from the others of its section.
        records: its runs, all finished.
        spreads: measure's key → spread; absent where no run has the result.
    """

    names: tuple[str, ...]
    label: str
    records: tuple[Record, ...]
    spreads: Mapping[str, Spread]

    def median(self, measure: Measure | None) -> Record:
        """The run in the middle by this measure, the lower one of two: the one to show a picture of."""
        found = [(None if measure is None else measure(record), i) for i, record in enumerate(self.records)]
        known = sorted((value, i) for value, i in found if value is not None)
        return self.records[known[(len(known) - 1) // 2][1]] if known else self.records[0]


@dataclass(frozen=True)
class Section:
    """The groups that may be held against each other: those of one data set.

    Attributes:
        name: the data set; empty where the runs' data sets are mixed.
        groups: best first.
        judge: the measure that orders them; None where none of them can.
        floors: measure's key → its value between the data and themselves, where that is known.
        best: measure's key → the names of its best groups, where at least two have the result.
    """

    name: str
    groups: tuple[Group, ...]
    judge: Measure | None
    floors: Mapping[str, float]
    best: Mapping[str, frozenset[tuple[str, ...]]]

    def shown(self, measures: Iterable[Measure]) -> list[Measure]:
        """Those of the measures that some group of it has."""
        return [measure for measure in measures if any(measure.key in group.spreads for group in self.groups)]


@dataclass(frozen=True)
class Comparison:
    """All of it.

    Attributes:
        by: the keys that make the groups.
        rows: those that tell the groups of one section from each other.
        qualities, costs: the columns.
        sections: one a data set.
        notices: what a reader of the means must know, a line each.
        excluded: runs that are not counted, with why.
    """

    by: tuple[str, ...]
    rows: tuple[str, ...]
    qualities: tuple[Measure, ...]
    costs: tuple[Measure, ...]
    sections: tuple[Section, ...]
    notices: tuple[str, ...]
    excluded: tuple[tuple[Record, str], ...]

    @property
    def columns(self) -> tuple[Measure, ...]:
        """Quality, then cost."""
        return self.qualities + self.costs

    @property
    def groups(self) -> list[Group]:
        """Those of all sections."""
        return [group for section in self.sections for group in section.groups]


def why_excluded(record: Record) -> str | None:
    """Why a run cannot be counted; None for one that can."""
    at = "" if record.step is None else f" at step {record.step}" + (f" of {record.steps}" if record.steps else "")
    if record.state == "finished":
        return None if record.results else "finished, but without results"
    reasons = {
        "running": f"still running{at}",
        "lost": f"its process is gone{at}",
        "broken": record.problem,
    }
    return reasons.get(record.state) or record.reason or f"{record.state}{at}"


def compare(records: Iterable[Record], by: Sequence[str], metrics: Sequence[str] | None = None) -> Comparison:
    """Group the finished runs, and rank the groups of each data set.

    Args:
        records: the runs.
        by: config keys and group names; runs that agree in all of them are one group.
        metrics: keys of results.json, the columns of quality, of which the first that can ranks; None takes those of
            `QUALITIES` that some run has.
    """
    judged = [(record, why_excluded(record)) for record in records]
    counted = [record for record, why in judged if why is None]
    wanted = QUALITIES if metrics is None else [measure_of(key) for key in metrics]
    qualities = tuple(m for m in wanted if any(m(r) is not None for r in counted))
    costs = tuple(m for m in COSTS if m not in qualities and any(m(r) is not None for r in counted))
    rows = tuple(key for key in by if key != DATASET)
    one_data_set = len({text(record.value(DATASET)) for record in counted}) == 1
    by_section: dict[str, dict[tuple[str, ...], list[Record]]] = {}
    for record in counted:
        section = text(record.value(DATASET)) if DATASET in by or one_data_set else ""
        names = tuple(text(record.value(key)) for key in by)
        by_section.setdefault(section, {}).setdefault(names, []).append(record)
    sections = tuple(
        _section(name, [_group(by, names, found, qualities + costs) for names, found in groups.items()], qualities)
        for name, groups in sorted(by_section.items())
    )
    made = [group for section in sections for group in section.groups]
    notices = [*_mixed(made, by), *_repeated(made)]
    excluded = tuple((record, why) for record, why in judged if why is not None)
    return Comparison(tuple(by), rows, qualities, costs, sections, tuple(notices), excluded)


def _group(by: Sequence[str], names: tuple[str, ...], records: list[Record], columns: Sequence[Measure]) -> Group:
    # A group's option says what it is by itself, a number does not.
    said = [
        name if any(key in record.options for record in records) else f"{key}={name}"
        for key, name in zip(by, names, strict=True)
        if key != DATASET
    ]
    spreads = {}
    for measure in columns:
        values = [value for record in records if (value := measure(record)) is not None]
        if values:
            spreads[measure.key] = Spread.of(values)
    return Group(names, ", ".join(said) or "all runs", tuple(records), spreads)


def _section(name: str, groups: list[Group], qualities: Sequence[Measure]) -> Section:
    able = [m for m in qualities if m.ranks]
    # The first that all groups have, else the one that most have: a column with holes ranks nobody.
    judge = max(able, key=lambda m: sum(m.key in group.spreads for group in groups), default=None)
    if judge is not None:
        key, score = judge.key, judge.score
        groups.sort(key=lambda g: (key not in g.spreads, score(g.spreads[key].mean) if key in g.spreads else 0.0))
    records = [record for group in groups for record in group.records]
    had = [m for m in qualities if any(m.key in group.spreads for group in groups)]
    found = {m.key: [v for record in records if (v := m.floor(record)) is not None] for m in had}
    floors = {key: math.fsum(values) / len(values) for key, values in found.items() if values}
    best = {}
    for measure in {m.key: m for m in (*qualities, *COSTS)}.values():
        # What is better than the data themselves is so by chance: there all are equally good.
        floor = measure.score(floors[measure.key]) if measure.key in floors else -math.inf
        means = {g.names: g.spreads[measure.key].mean for g in groups if measure.key in g.spreads}
        scores = {names: max(measure.score(mean), floor) for names, mean in means.items()}
        if measure.ranks and len(scores) > 1:
            best[measure.key] = frozenset(names for names, s in scores.items() if s == min(scores.values()))
    return Section(name, tuple(groups), judge, floors, best)


# --- what a reader must know ------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    """A config value as it would be typed; a dash for none."""
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value)


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The config's keys by dotted name, with their values."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def settings(record: Record) -> dict[str, str]:
    """What was chosen for a run: the options of its groups, then every key of its config."""
    options = {group: text(option) for group, option in record.options.items()}
    return options | {key: text(value) for key, value in flat(record.config) if key not in options}


def differing(records: Sequence[Record]) -> dict[str, list[str]]:
    """Key → its values, for the settings in which runs differ; where options differ, not also each of their keys."""
    all_settings = [settings(record) for record in records]
    keys = dict.fromkeys(key for found in all_settings for key in found)
    values = {key: _in_order({found.get(key, MISSING) for found in all_settings}) for key in keys}
    options = {key for record in records for key in record.options if len(values[key]) > 1}
    inside = {key: any(f".{option}." in f".{key}." and option != key for option in options) for key in keys}
    return {key: found for key, found in values.items() if len(found) > 1 and not inside[key]}


def _mixed(groups: Iterable[Group], by: Sequence[str]) -> list[str]:
    """One line, if runs of a group differ by more than chance."""
    mixed: dict[str, set[str]] = {}
    for group in groups:
        for key, values in differing(group.records).items():
            if key not in NOT_THE_MODEL and key not in by:
                mixed.setdefault(key, set()).update(values)
    if not mixed:
        return []
    said = [f"{key}={' and '.join(_short(_in_order(values)))}" for key, values in list(mixed.items())[:3]]
    more = f" and {len(mixed) - 3} more keys" if len(mixed) > 3 else ""
    them = "it" if len(mixed) == 1 else "them"
    return [f"groups mix {', '.join(said)}{more}; add {them} to by: by=[{','.join([*by, *list(mixed)[:3]])}]"]


def _repeated(groups: Iterable[Group]) -> list[str]:
    """A line for each group in which one seed was run again: it shows no spread."""
    found = []
    for group in groups:
        if {key for key in differing(group.records) if key not in NOT_THE_MODEL}:
            continue
        seeds = Counter((text(r.value("seed")), text(r.value("dataset.seed"))) for r in group.records)
        again = [seed for (seed, _), n in seeds.items() if n > 1]
        if again:
            found.append(f"{' · '.join(group.names)}: several runs of seed={again[0]}; a repeated seed shows no spread")
    return found


def _in_order(values: Iterable[str]) -> list[str]:
    """Shorter ones first, so that 64 stands before 128."""
    return sorted(values, key=lambda value: (len(value), value))


def _short(values: list[str]) -> list[str]:
    return values if len(values) <= 4 else [*values[:3], f"{len(values) - 3} more"]


# --- which one to use -------------------------------------------------------------------------------------------------


def welch(a: Spread, b: Spread) -> float | None:
    """The two-sided p-value of Welch's t-test on two means; None where either has no spread (n = 1)."""
    if a.sd is None or b.sd is None:
        return None
    va, vb = a.sd**2 / a.n, b.sd**2 / b.n
    if va + vb == 0:
        return 1.0 if a.mean == b.mean else 0.0
    freedom = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1))
    return 2 * float(stdtr(freedom, -abs(a.mean - b.mean) / math.sqrt(va + vb)))


def conclusion(section: Section) -> str:
    """Which group of a section to use, in a sentence with the numbers that say so."""
    where = f"{section.name}: " if section.name else ""
    judge = section.judge
    ranked = [group for group in section.groups if judge is not None and judge.key in group.spreads]
    if judge is None or not ranked:
        return f"{where}there is no result to rank by."
    best, spread = ranked[0], ranked[0].spreads[judge.key]
    if len(ranked) == 1:
        return f"{where}{best.label} alone has {judge.key}, {_of_runs(spread)}: nothing to compare it with."
    second = ranked[1].spreads[judge.key]
    p = welch(spread, second)
    if p is None:
        lead = "without two seeds each, nobody knows whether that lead is luck"
    else:
        side = "beyond" if p < SIGNIFICANT else "within"
        said = "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
        lead = f"that lead is {side} the spread of the seeds (Welch's t-test, {said})"
    led = f"{best.label} has {judge.superlative} {judge.key}, {_of_runs(spread)}"
    return f"{where}{led}; {ranked[1].label} follows with {second}, and {lead}{_cheapest(ranked, judge)}."


def _of_runs(spread: Spread) -> str:
    return f"{spread} ({spread.n} run{'s' if spread.n > 1 else ''})"


def _cheapest(ranked: Sequence[Group], judge: Measure) -> str:
    """The fastest group whose mean lies within one sd of the best's: what its own next seed might have given."""
    best, spread = ranked[0], ranked[0].spreads[judge.key]
    timed = [group for group in ranked if "cost/seconds" in group.spreads]
    if spread.sd is None or best not in timed:
        return ""
    limit = judge.score(spread.mean) + spread.sd
    near = [group for group in timed if judge.score(group.spreads[judge.key].mean) <= limit]
    cheapest = min(near, key=lambda group: group.spreads["cost/seconds"].mean)
    least, its = (f"{format_value(group.spreads['cost/seconds'].mean)} s" for group in (cheapest, best))
    if cheapest is best:
        return f"; nothing within one sd of it is cheaper than its {its}"
    return f"; the cheapest within one sd of it is {cheapest.label}, {least} instead of {its}"


def overall(comparison: Comparison) -> str:
    """Who leads how often, and how often by more than luck; empty for a single data set."""
    contests = [section for section in comparison.sections if len(section.groups) > 1 and section.judge is not None]
    if len(contests) < 2:
        return ""
    wins = Counter(section.groups[0].label for section in contests)
    clear = Counter(section.groups[0].label for section in contests if _is_clear(section))
    said = [f"{who} leads on {n}, beyond the spread of the seeds on {clear[who]}" for who, n in wins.most_common()]
    return f"Of {len(contests)} data sets " + "; ".join(said) + "."


def _is_clear(section: Section) -> bool:
    assert section.judge is not None
    first, second = (group.spreads.get(section.judge.key) for group in section.groups[:2])
    p = None if first is None or second is None else welch(first, second)
    return p is not None and p < SIGNIFICANT
