"""The values that a search chooses from, as typed in Hydra's grammar.

key=interval(1e-4,1e-2)       any number between; in logarithms if both are positive and 100 times apart or more
key=tag(log,interval(1,9))    in logarithms; tag(linear,…) never
key=int(interval(8,64))       a whole number
key=range(1,10,3)             1, 4 or 7
key=a,b,c                     one of these
"""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from ebm_cli.errors import UserError

EXAMPLE = "'optimizer.lr=interval(1e-4,1e-2)'"
"""A key with an interval, as it is typed for a search."""
LOG_FROM = 100.0
"""Ratio of the ends of an interval from which it is searched in logarithms."""


class Numbers(NamedTuple):
    """An interval of numbers, both ends included.

    Attributes:
        low, high: its ends.
        is_whole: whether only whole numbers are meant.
        is_log: whether the logarithm is drawn evenly.
        step: between two values; None for any number.
    """

    low: float
    high: float
    is_whole: bool = False
    is_log: bool = False
    step: float | None = None

    def __str__(self) -> str:
        kind = ", in logarithms" if self.is_log else "" if self.step is None else f", in steps of {self.step:g}"
        return f"{self.low:g} to {self.high:g}{kind}"


class Words(NamedTuple):
    """A list of values as typed, one of which is taken."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        return " or ".join(self.values)


Space = dict[str, Numbers | Words]


def read_space(words: Sequence[str]) -> tuple[Space, list[str]]:
    """Split the overrides of a search into what it chooses and what all of its trials have.

    Raises:
        UserError: nothing to choose, or an interval without numbers in it.
    """
    space: Space = {}
    fixed: list[str] = []
    for override in OverridesParser.create().parse_overrides(list(words)):
        key = override.get_key_element()
        if not override.is_sweep_override():
            fixed.append(f"{key}={override.get_value_element_as_str()}")
        elif override.is_interval_sweep():
            space[key] = _interval(override)
        elif override.is_range_sweep():
            space[key] = _range(override)
        else:
            space[key] = Words(tuple(map(str, override.sweep_string_iterator())))
    if not space:
        raise UserError(
            f"nothing to search: give a key an interval, such as {EXAMPLE}, or several values, such as seed=0,1"
        )
    return space, fixed


def _interval(override: Override) -> Numbers:
    sweep = override.value()
    assert isinstance(sweep, IntervalSweep)
    start, end = sweep.start, sweep.end
    if start is None or end is None or not float(start) < float(end):
        raise UserError(f"{override.input_line}: the first number of an interval must be below the second")
    if not (isfinite(start) and isfinite(end)):
        raise UserError(f"{override.input_line}: the ends of an interval are numbers")
    tags = sweep.tags
    strange = sorted(tags - {"log", "linear"})
    if strange:
        raise UserError(f"{override.input_line}: a tag is log or linear, not {', '.join(strange)}")
    is_wide = start > 0 and end / start >= LOG_FROM
    is_log = "log" in tags or (is_wide and "linear" not in tags)
    if is_log and start <= 0:
        raise UserError(f"{override.input_line}: an interval in logarithms needs positive numbers")
    return Numbers(start, end, isinstance(start, int) and isinstance(end, int), is_log)


def _range(override: Override) -> Numbers:
    values = [value for value in override.sweep_iterator() if isinstance(value, int | float)]
    sweep = override.value()
    assert isinstance(sweep, RangeSweep)
    if not values:
        raise UserError(f"{override.input_line}: no number in this range")
    return Numbers(min(values), max(values), all(isinstance(v, int) for v in values), step=abs(float(sweep.step)))
