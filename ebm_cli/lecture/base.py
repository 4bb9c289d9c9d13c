"""The abstraction of this folder: a claim that an experiment measures itself, its numbers, and one figure of them.

An experiment names its measurement under the key `measurement`, a node with a `_target_`. One that trains nothing is
measured in place of a training; one with `trains = True` is measured on the runs of the experiment, at the end of the
run or of the sweep. Its verdicts are those of `claims`: PASS or FAIL, claims.json and the exit code.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import log
from statistics import linear_regression
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ebm_cli.claims import Verdict
from ebm_cli.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, float | int | str | None]
"""Column's title, with its unit → value."""


class Outcome(NamedTuple):
    """The result of a measurement.

    Attributes:
        rows: the numbers, a table: every row has the same columns.
        verdicts: (name of a statement, verdict), one for each statement that must hold.
        drawn: what the figure shows beside the rows, such as samples; not written to numbers.json.
    """

    rows: Sequence[Row]
    verdicts: Sequence[tuple[str, Verdict]]
    drawn: Mapping[str, Any] = {}


class Measurement(ABC):
    """A claim with the measurement that decides it. A class of your own has a claim, `measure` and `draw`."""

    claim: ClassVar[str]
    """The claim in one sentence, without a full stop."""

    trains: ClassVar[bool] = False
    """True if it is measured on the runs of its experiment; False trains no model."""

    @abstractmethod
    def measure(self, runs: Sequence[Record]) -> Outcome:
        """Measure.

        Args:
            runs: the finished runs of the experiment; empty for a measurement that trains nothing.
        """

    @abstractmethod
    def draw(self, figure: "Figure", outcome: Outcome) -> None:
        """Draw the outcome in an empty figure (`reporting.figures.chart`), with a title that says what it shows."""


def verdict_within(about: str, value: float, reference: float, tolerance: float) -> Verdict:
    """Verdict on |value − reference| ≤ tolerance; a value that is not finite fails."""
    passed = abs(value - reference) <= tolerance
    return Verdict(passed, f"{about} {value:.4g}, {'' if passed else 'not '}within {tolerance:.2g} of {reference:.4g}")


def verdict_bound(about: str, value: float, *, at_most: float | None = None, at_least: float | None = None) -> Verdict:
    """Verdict on a value and its bounds, of which one is given; a value that is not finite fails."""
    passed = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
    bound = f"≤ {at_most:.4g}" if at_least is None else f"≥ {at_least:.4g}"
    return Verdict(passed, f"{about} {value:.4g} {'' if passed else 'not '}{bound}")


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of log y against log x, by least squares: p if y ∝ xᵖ."""
    return linear_regression([log(value) for value in x], [log(value) for value in y]).slope
