"""Columns of a comparison: results of the registry, read from the record of a run."""

from dataclasses import dataclass

from ebm_cli.evaluation import result_registry
from ebm_cli.evaluation.result_description import NULL, Result
from ebm_cli.evaluation.result_registry import describe
from ebm_cli.evaluation.values import number
from ebm_cli.runs.record import Record

STEPS = "cost/steps"
"""The one column that is no key of results.json: the step of status.json."""


@dataclass(frozen=True)
class Column:
    """A column of a comparison: one result of every run.

    Args:
        result: its description.
    """

    result: Result

    @property
    def key(self) -> str:
        """The key of the result."""
        return self.result.key

    @property
    def label(self) -> str:
        """The head of the column."""
        return f"|{self.result.label}|" if self.result.magnitude else self.result.label

    @property
    def meaning(self) -> str:
        """The meaning with its unit; empty for a result that is not registered."""
        if not self.result.magnitude:
            return str(self.result)
        return f"|{self.result.meaning}|, {self.result.unit}"

    @property
    def is_ranked(self) -> bool:
        """True if one value is better than another."""
        return self.result.better != "none"

    @property
    def is_cost(self) -> bool:
        """True for what a run took, False for what it is worth."""
        return self.key.startswith("cost/")

    @property
    def superlative(self) -> str:
        """The phrase for the best value."""
        phrases = {"low": "the lowest", "high": "the highest", "half": "the nearest to 0.5", "none": "the"}
        return phrases[self.result.better]

    def value(self, record: Record) -> float | None:
        """The run's value; None where the run has none."""
        if self.key == STEPS:
            return None if record.step is None else float(record.step)
        value = number(record.results, self.key)
        return abs(value) if value is not None and self.result.magnitude else value

    def loss(self, value: float) -> float:
        """A number that is lower where the value is better."""
        return {"low": value, "high": -value, "half": abs(value - 0.5), "none": 0.0}[self.result.better]

    def reference(self, record: Record) -> float | None:
        """The value of the true density: the entropy for NLL, the distance between two samples of the data."""
        key = self.result.reference or f"{self.key}{NULL}"
        if self.result.better == "half" and key not in record.results:
            return 0.5
        return number(record.results, key)


QUALITIES = tuple(Column(result) for result in result_registry.QUALITIES)
"""The default columns of quality, in the order in which they rank."""
COSTS = tuple(Column(result) for result in result_registry.COSTS)


def column_of(key: str) -> Column:
    """The column of any result."""
    return Column(describe(key))
