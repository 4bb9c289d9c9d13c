"""The claim that energies learn the tables of the suite as the rule of docs/development/table_suite.md asks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from statistics import fmean, median
from typing import Any, final

from ebm_cli.claims.base import Claim, Verdict
from ebm_cli.claims.baseline_store import Baseline, BaselineStore
from ebm_cli.evaluation.values import number
from ebm_cli.runs.record import Record

PER_COLUMN = 0.01
"""KL above the best baseline's, nats a column."""
MODE_ERROR, TAIL_RATIO = 0.02, 2.0
OUTSIDE_FACTOR, OUTSIDE = 10.0, 0.01
LEAST_KL = 0.003
"""KL below which a smaller one counts as no better, nats."""
GAIN = 0.7
"""Largest geometric mean of KL over the best baseline's."""


@dataclass
class _Table:
    """The runs of one density, with what they are compared with.

    Attributes:
        runs: (method, seed) → run.
        baselines: seed → best simple estimator.
        failed: a text for each statement that fails.
        n_statements: made about the runs.
    """

    runs: dict[tuple[str, int], Record] = field(default_factory=dict)
    baselines: dict[int, Baseline] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    n_statements: int = 0

    def ratios(self, method: str) -> list[float]:
        """KL of a method over that of the best estimator, one a run; none of a run without a KL."""
        kls = [(number(run.results, "eval/kl"), seed) for (one, seed), run in self.runs.items() if one == method]
        return [max(kl, LEAST_KL) / max(self.baselines[seed].kl, LEAST_KL) for kl, seed in kls if kl is not None]


@final
@dataclass(frozen=True)
class TableRule(Claim):
    """Each energy is at least nearly as good as the best simple estimator; those of two methods are better on average.

    Of every run, KL ≤ that of the best estimator + 0.01 a column; each mode's mass within 0.02; each tail's mass within
    a factor of 2; mass outside the data's box ≤ max(10 × truth, 1 %). And of each method in `better`, over all tables
    outside the estimators' own families, the geometric mean of max(KL, 0.003)/max(best estimator, 0.003) ≤ 0.7.

    Args:
        baselines: file of the KL of mixture, kernel density and flow; tables that it lacks are measured, each flow for
            the time of the slowest run of its table, on as many threads.
        better: methods that have to be better.
    """

    baselines: str = "outputs/table_suite_baselines.json"
    better: Sequence[str] = ("nce", "cd")

    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        tables = self._tables(runs)
        if not tables:
            return [Verdict(None, "no run of dataset=table_suite")]
        verdicts = [_judge_table(name, table) for name, table in tables.items()]
        means = {method: _geometric_mean(tables, method) for method in self.better}
        for method, mean in means.items():
            if mean is not None:
                passed = mean <= GAIN
                what = f"geometric mean of KL over the best baseline's {mean:.3f} {'≤' if passed else 'not ≤'} {GAIN}"
                verdicts.append(Verdict(passed, f"method={method} {what}"))
        failed, made = (sum(count) for count in zip(*(_counts(table) for table in tables.values()), strict=True))
        seconds = sum(number(run.results, "cost/seconds") or 0.0 for run in runs)
        return [*verdicts, Verdict(failed == 0, f"{failed} of {made} statements fail; {seconds:,.0f} s of training")]

    def _tables(self, runs: Iterable[Record]) -> dict[str, _Table]:
        tables: dict[str, _Table] = {}
        for run in runs:
            if run.get("dataset") == "table_suite":
                name, method, seed = (run.get(key) for key in ("dataset.name", "method", "dataset.seed"))
                tables.setdefault(str(name), _Table()).runs[str(method), int(seed)] = run
        store = BaselineStore(self.baselines)
        for name, table in tables.items():
            for seed in sorted({seed for _, seed in table.runs}):
                alike = [run for (_, one), run in table.runs.items() if one == seed]
                seconds = max(number(run.results, "cost/seconds") or 0.0 for run in alike)
                threads, n_rows = alike[0].get("threads"), alike[0].get("dataset.n_rows")
                n_threads = threads if isinstance(threads, int) else 1
                table.baselines[seed] = store.best(name, seed, n_rows, max(seconds, 1.0), n_threads)
        return tables


def _judge_table(name: str, table: _Table) -> Verdict:
    for (method, seed), run in sorted(table.runs.items()):
        found = _statements(run.results, table.baselines[seed].kl, _columns(name))
        table.n_statements += len(found)
        table.failed += [f"{method}/{seed} {what}" for what, holds in found if not holds]
    best = min(table.baselines.values(), key=lambda one: one.kl)
    level = median(one.kl for one in table.baselines.values())
    words = [f"{name}: {best.name} {level:.4f}"]
    for method in sorted({method for method, _ in table.runs}):
        kls = [number(run.results, "eval/kl") for (one, _), run in table.runs.items() if one == method]
        known = [kl for kl in kls if kl is not None]
        words.append(f"{method} {median(known):.4f}" if known else f"{method} –")
    failed = f"; fails: {', '.join(table.failed)}" if table.failed else ""
    return Verdict(not table.failed, ", ".join(words) + failed)


def _statements(results: Mapping[str, Any], baseline: float, n_columns: int) -> list[tuple[str, bool]]:
    """Each statement about a run: what is measured, and whether it holds; a number that is missing fails."""

    def at_most(what: str, key: str, bound: float) -> tuple[str, bool]:
        value = number(results, key)
        return f"{what} {'unknown' if value is None else f'{value:.3g}'}", value is not None and value <= bound

    truth = number(results, "eval/outside_data") or 0.0
    found = [
        at_most("KL", "eval/kl", baseline + PER_COLUMN * n_columns),
        at_most("tail", "eval/tail_ratio", TAIL_RATIO),
        at_most("outside", "eval/outside", max(OUTSIDE_FACTOR * truth, OUTSIDE)),
    ]
    return found + ([at_most("mode", "eval/mode_error", MODE_ERROR)] if "eval/mode_error" in results else [])


def _counts(table: _Table) -> tuple[int, int]:
    return len(table.failed), table.n_statements


def _columns(name: str) -> int:
    from ebm_cli.datasets.table_suite.members import MEMBERS

    return MEMBERS[name].build().shape[0]


def _geometric_mean(tables: Mapping[str, _Table], method: str) -> float | None:
    """The mean ratio of a method over all tables that no estimator's family contains; None without a run."""
    from ebm_cli.datasets.table_suite.members import MEMBERS

    ratios = [r for name, table in tables.items() if not MEMBERS[name].is_baselines for r in table.ratios(method)]
    return exp(fmean(map(log, ratios))) if ratios else None
