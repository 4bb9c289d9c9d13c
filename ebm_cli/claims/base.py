"""The abstraction of this folder: a published statement about results, which the runs of an experiment confirm or not.

An experiment names its claims under the key `claims`, each a node with a `_target_`. They are judged at the end of a
run, or at the end of a sweep on all of its runs. A claim selects its runs by their config,

    where: {method: [nce, fce], dataset.noise_std: 0}

in which a list makes one group of runs for each of its values. A group without runs is *not judged*, so that a part of
an experiment can be run alone: that part is judged, and the rest is reported as not run.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import product
from statistics import fmean, median
from typing import Any, Literal, NamedTuple

from ebm_cli.evaluation.values import number
from ebm_cli.runs.record import Record

Where = dict[str, Any]
"""Config keys or group names → the value that a run must have, or a list of values, one group of runs each."""

Take = Literal["each", "median", "mean", "spread"]
"""Reduction of a group's values: none (each run must pass alone), their median or mean, or their largest − smallest."""


class Verdict(NamedTuple):
    """The verdict on one group of runs.

    Attributes:
        passed: None if the group has no runs.
        what: one line: the subject, the number, the bound, and the published number if there is one.
    """

    passed: bool | None
    what: str


class Claim(ABC):
    """A published statement about results. A class of your own has one method, `judge`."""

    @abstractmethod
    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        """Judge the claim: one verdict for each group of runs that it is about.

        Args:
            runs: finished runs, with their config, their choices and their results.
        """


class RunGroup(NamedTuple):
    """Runs that have the same values of some keys, and these values as text: `method=nce`."""

    label: str
    runs: list[Record]


def group_runs(runs: Sequence[Record], where: Where) -> list[RunGroup]:
    """The runs that `where` selects, one group for each combination of the values in its lists; some may be empty."""
    lists = {key: value if isinstance(value, list) else [value] for key, value in where.items()}
    found = []
    for values in product(*lists.values()):
        wanted = dict(zip(lists, values, strict=True))
        alike = [run for run in runs if all(run.get(key) == value for key, value in wanted.items())]
        found.append(RunGroup(" ".join(f"{key}={value}" for key, value in wanted.items()), alike))
    return found


def result_values(runs: Sequence[Record], key: str) -> list[float]:
    """The result `key` of each run.

    Raises:
        LookupError: a run has no such number; the message names the run.
    """
    found = []
    for run in runs:
        value = number(run.results, key)
        if value is None:
            raise LookupError(f"{run.path.name} has no {key}")
        found.append(value)
    return found


def reduce_values(values: Sequence[float], take: Take) -> list[float]:
    """The values that a bound must hold for: all of them, or their median, mean or spread."""
    if take == "spread":
        return [max(values) - min(values)]
    return list(values) if take == "each" else [median(values) if take == "median" else fmean(values)]


def describe_values(values: Sequence[float], take: Take) -> str:
    """The values as text: `0.004`, `median 0.004 of 3 (0.003 … 0.006)`."""
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    if len(values) == 1:
        return low
    if take == "each":
        return f"{low} … {high} ({len(values)} runs)"
    return f"{take} {reduce_values(values, take)[0]:.4g} of {len(values)} ({low} … {high})"


def join_parts(*parts: str, source: str = "") -> str:
    """The parts that are not empty in one line, followed by the published number in brackets."""
    line = " ".join(part for part in parts if part)
    return f"{line} [{source}]" if source else line


def require_selection(**selectors: Mapping[str, Any] | None) -> None:
    """Refuse a selector with an empty list, which selects no run.

    Raises:
        ValueError: the message names the selector.
    """
    for name, where in selectors.items():
        empty = [key for key, value in (where or {}).items() if value == []]
        if empty:
            raise ValueError(f"{name} must select something, got {empty[0]}: []")
