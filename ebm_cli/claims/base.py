"""The abstraction of this folder: a sentence about results that the runs of an experiment make true or false.

An experiment names its claims under the key `claims`, each a node with a `_target_`; they are judged at the end of a
run, or of a sweep over all of its runs. A claim picks the runs that it speaks of by their config,

    where: {method: [nce, fce], dataset.noise_std: 0}

in which a list makes one group of runs for each of its values. A group without runs is *not judged*: who runs a part of
an experiment is told about that part, and what is missing.
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
"""How the runs of a group become one number: each must hold alone, their median or mean, their largest − smallest."""


class Verdict(NamedTuple):
    """One judgement.

    Attributes:
        passed: None where the runs that it would be about were not made.
        what: one line: what it is about, the number, the bound, and the published number where there is one.
    """

    passed: bool | None
    what: str


class Claim(ABC):
    """A sentence about results. A class of one's own needs nothing but `judge`."""

    @abstractmethod
    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        """One verdict for each group of runs that the claim speaks of.

        Args:
            runs: finished runs, with their config, their choices and their results.
        """


class Group(NamedTuple):
    """Runs that are alike, and by what: `method=nce`."""

    label: str
    runs: list[Record]


def groups(runs: Sequence[Record], where: Where) -> list[Group]:
    """The runs that `where` speaks of, one group for each combination of the values in its lists; some may be empty."""
    lists = {key: value if isinstance(value, list) else [value] for key, value in where.items()}
    found = []
    for values in product(*lists.values()):
        wanted = dict(zip(lists, values, strict=True))
        alike = [run for run in runs if all(run.value(key) == value for key, value in wanted.items())]
        found.append(Group(" ".join(f"{key}={value}" for key, value in wanted.items()), alike))
    return found


def numbers(runs: Sequence[Record], key: str) -> list[float]:
    """The result `key` of each run.

    Raises:
        LookupError: a run has no such number; says which.
    """
    found = []
    for run in runs:
        value = number(run.results, key)
        if value is None:
            raise LookupError(f"{run.path.name} has no {key}")
        found.append(value)
    return found


def reduced(values: Sequence[float], take: Take) -> list[float]:
    """What a bound must hold for: every value, or the one number that they are taken together to."""
    if take == "spread":
        return [max(values) - min(values)]
    return list(values) if take == "each" else [median(values) if take == "median" else fmean(values)]


def shown(values: Sequence[float], take: Take) -> str:
    """The values in words: `0.004`, `median 0.004 of 3 (0.003 … 0.006)`."""
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    if len(values) == 1:
        return low
    if take == "each":
        return f"{low} … {high} ({len(values)} runs)"
    return f"{take} {reduced(values, take)[0]:.4g} of {len(values)} ({low} … {high})"


def sentence(*parts: str, source: str = "") -> str:
    """The parts that are not empty as one line, the published number in brackets behind it."""
    line = " ".join(part for part in parts if part)
    return f"{line} [{source}]" if source else line


def check_where(**selectors: Mapping[str, Any] | None) -> None:
    """Refuse a selector with an empty list, which speaks of nothing.

    Raises:
        ValueError: names the selector.
    """
    for name, where in selectors.items():
        empty = [key for key, value in (where or {}).items() if value == []]
        if empty:
            raise ValueError(f"{name} must select something, got {empty[0]}: []")
