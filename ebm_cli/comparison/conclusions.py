"""Conclusions of a comparison in sentences: which group to use, and what makes a mean doubtful."""

from collections import Counter
from collections.abc import Iterable, Sequence

from ebm_cli.comparison.columns import Column
from ebm_cli.comparison.groups import Comparison, Group, Section
from ebm_cli.comparison.settings import BY_CHANCE, differing_settings, format_setting, in_order
from ebm_cli.comparison.spread import Spread, welch
from ebm_cli.evaluation.values import format_value

P_LEAD = 0.05
"""A lead with a p-value below this is beyond the spread of the seeds."""
SPREADS = 2.0
"""Standard deviations beyond which a difference is not called one within the spread, however few runs test it."""
CHEAPER = 0.9
"""Share of the best group's time up to which another group is called cheaper; less is lost in the noise of clocks."""
TIME = "cost/seconds"


def warnings(comparison: Comparison) -> list[str]:
    """Sentences on groups whose mean and spread are not those of seeds alone."""
    return [
        *_mixed(comparison.groups, comparison.by),
        *_repeated(comparison.groups),
        *_unbounded(comparison.groups),
        *_untrained(comparison.groups),
    ]


def conclusion(section: Section) -> str:
    """The group of a section to use, in a sentence with the numbers that show it."""
    where = f"{section.name}: " if section.name else ""
    column = section.ranking
    ranked = [group for group in section.groups if column is not None and column.key in group.spreads]
    if column is None or not ranked:
        return f"{where}there is no result to rank by."
    best, spread = ranked[0], ranked[0].spreads[column.key]
    if len(ranked) == 1:
        return f"{where}{best.label} alone has {column.label}, {_with_runs(spread)}: nothing to compare it with."
    second = ranked[1].spreads[column.key]
    p = welch(spread, second)
    if p is None:
        lead = "the difference cannot be tested with fewer than two seeds per group"
    else:
        p_text = "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
        test = f"(Welch's t-test, {p_text}; beyond is p < {P_LEAD})"
        lead = f"that lead is {'beyond' if p < P_LEAD else 'within'} the spread of the seeds {test}"
        if p >= P_LEAD and not _is_near(spread, second):
            lead = f"that lead is larger than the spread, and more seeds would tell whether it is chance {test}"
    leader = f"{best.label} has {column.superlative} {column.label}, {_with_runs(spread)}"
    return f"{where}{leader}; {ranked[1].label} follows with {second}, and {lead}{_cheaper(ranked, column)}."


def overall(comparison: Comparison) -> str:
    """A sentence on how often each group leads, and how often beyond chance; empty for a single data set."""
    contests = [section for section in comparison.sections if len(section.groups) > 1 and section.ranking is not None]
    if len(contests) < 2:
        return ""
    wins = Counter(section.groups[0].label for section in contests)
    clear = Counter(section.groups[0].label for section in contests if _is_clear(section))
    parts = [
        f"{label} leads on {n} (beyond the spread of the seeds on {clear[label]})" for label, n in wins.most_common()
    ]
    return f"Of {len(contests)} data sets " + "; ".join(parts) + "."


def _with_runs(spread: Spread) -> str:
    return f"{spread} ({spread.n} run{'s' if spread.n > 1 else ''})"


def _cheaper(ranked: Sequence[Group], column: Column) -> str:
    """The faster groups that the seeds do not tell from the best one, each with its mean and spread."""
    best, spread = ranked[0], ranked[0].spreads[column.key]
    if spread.sd is None or TIME not in best.spreads:
        return ""
    seconds = best.spreads[TIME].mean
    found = [
        f"{group.label}, {group.spreads[column.key]} in {format_value(group.spreads[TIME].mean)} s"
        for group in ranked[1:]
        if TIME in group.spreads
        and group.spreads[TIME].mean < CHEAPER * seconds
        and _is_within(group.spreads[column.key], spread, column)
    ]
    if not found:
        return f"; nothing within the spread is cheaper than its {format_value(seconds)} s"
    return f"; cheaper than its {format_value(seconds)} s and within the spread: {'; '.join(_shorten(found))}"


def _is_within(other: Spread, best: Spread, column: Column) -> bool:
    """True if the test of a lead does not tell them apart; for a single run, which has no test: within one sd."""
    p = welch(best, other)
    if p is not None:
        return p >= P_LEAD and _is_near(best, other)
    return best.sd is not None and column.loss(other.mean) <= column.loss(best.mean) + best.sd


def _is_near(a: Spread, b: Spread) -> bool:
    """True if two means are at most `SPREADS` of the larger standard deviation apart."""
    return abs(a.mean - b.mean) <= SPREADS * max(a.sd or 0.0, b.sd or 0.0)


def _is_clear(section: Section) -> bool:
    assert section.ranking is not None
    first, second = (group.spreads.get(section.ranking.key) for group in section.groups[:2])
    p = None if first is None or second is None else welch(first, second)
    return p is not None and p < P_LEAD


def _mixed(groups: Iterable[Group], by: Sequence[str]) -> list[str]:
    """One sentence, if runs of a group differ by more than chance."""
    mixed: dict[str, set[str]] = {}
    for group in groups:
        for key, values in differing_settings(group.records).items():
            if key not in BY_CHANCE and key not in by:
                mixed.setdefault(key, set()).update(values)
    if not mixed:
        return []
    parts = [f"{key}={' and '.join(_shorten(in_order(values)))}" for key, values in list(mixed.items())[:3]]
    more = f" and {len(mixed) - 3} more keys" if len(mixed) > 3 else ""
    them = "it" if len(mixed) == 1 else "them"
    return [f"groups mix {', '.join(parts)}{more}; add {them} to by: by=[{','.join([*by, *list(mixed)[:3]])}]"]


def _repeated(groups: Iterable[Group]) -> list[str]:
    """A sentence for each group in which one seed was run twice: it shows no spread."""
    found = []
    for group in groups:
        if {key for key in differing_settings(group.records) if key not in BY_CHANCE}:
            continue
        seeds = Counter((format_setting(r.get("seed")), format_setting(r.get("dataset.seed"))) for r in group.records)
        repeated = [seed for (seed, _), n in seeds.items() if n > 1]
        if repeated:
            name = " · ".join(group.shown)
            found.append(f"{name}: several runs of seed={repeated[0]}; a repeated seed shows no spread")
    return found


def _unbounded(groups: Iterable[Group]) -> list[str]:
    """A sentence for each table on which no likelihood has an upper bound."""
    found = {str(run.results["eval/unbounded"]): None for group in groups for run in group.records
             if "eval/unbounded" in run.results}  # fmt: skip
    return [f"the likelihood has no upper bound, and a lower NLL means nothing: {columns}" for columns in found]


def _untrained(groups: Iterable[Group]) -> list[str]:
    """A sentence for each group with runs whose best checkpoint is that of step 0."""
    found = []
    for group in groups:
        n = sum(run.evaluated == 0 for run in group.records)
        if n:
            runs = f"{n} of {len(group.records)} run{'s' if len(group.records) > 1 else ''}"
            name = " · ".join(group.shown)
            found.append(f"{name}: the results of {runs} are of step 0, the density that training began with")
    return found


def _shorten(values: list[str]) -> list[str]:
    return values if len(values) <= 4 else [*values[:3], f"{len(values) - 3} more"]
