"""The description of a result: its unit, meaning and verdict, and the section of the reference page that it is in."""

from dataclasses import dataclass
from typing import Literal

from ebm_cli.evaluation.verdicts import Rule

Better = Literal["low", "high", "half", "none"]
"""The better values: low, high, those near 0.5, or none."""

SE, NULL, P = "_se", "_null", "_p"
SUFFIXES = {
    SE: "standard error",
    NULL: "the same between two samples of the data",
    P: "p-value: probability of a value as large or larger if the samples had the data's distribution",
}
"""Ends of the keys of companions → meaning."""

OVERALL, DENSITY, SCORE, SAMPLES, CHAINS, FEATURES, OOD, COST, TRAINING = SECTIONS = (
    *("Overall", "Density", "Score", "Samples", "Chains", "Features of samples", "Out-of-distribution detection"),
    *("Cost", "Training log"),
)
"""Sections of the reference page."""


@dataclass(frozen=True)
class Result:
    """The description of a result.

    Attributes:
        section: of the reference page.
        key: of results.json; `NAME` in it stands for any name.
        label: the head of its column in a comparison, and its name in titles of figures.
        unit: empty for a pure number.
        better: which values are better.
        meaning: a noun phrase, with the formula.
        verdict: the rule that grades it.
        companions: suffixes of the keys that come with it, see `SUFFIXES`.
        null: meaning of the companion `_null`, where it is not that of `SUFFIXES`.
        reference: key of the value that the true density would get, where it is not that of the companion `_null`.
        shown_with: key of the result in whose reference this one is shown; it has no row of its own in a table.
        column: whether `ebm compare` shows it by default, as a quality or as a cost. The order of the registry is that
            of the columns, and the first quality that every group has ranks the groups.
        headline: shown where there is room for little: in `ebm runs`, and of the costs, in a narrow comparison.
        monitored: `monitor=auto` may choose it: the first one in the order of the registry that a run can compute.
        magnitude: comparisons average its size, since its sign only says on which side it errs.
        signed: whether it can be negative, so that no logarithmic axis suits it.
    """

    section: str
    key: str
    label: str
    unit: str
    better: Better
    meaning: str
    verdict: Rule | None = None
    companions: tuple[str, ...] = ()
    null: str = ""
    reference: str = ""
    shown_with: str = ""
    column: Literal["", "quality", "cost"] = ""
    headline: bool = False
    monitored: bool = False
    magnitude: bool = False
    signed: bool = False

    @property
    def name(self) -> str:
        """The key without its group."""
        return self.key.partition("/")[2] or self.key

    def __str__(self) -> str:
        return f"{self.meaning}, {self.unit}" if self.unit else self.meaning
