"""One result is smaller than another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from ebm_cli.claims.base import (
    Claim,
    Group,
    Take,
    Verdict,
    Where,
    check_where,
    groups,
    numbers,
    reduced,
    sentence,
    shown,
)
from ebm_cli.runs.record import Record


@final
@dataclass(frozen=True)
class Order(Claim):
    """result < other result in the same runs, or < the same result in other runs.

    Args:
        key: of results.json: the smaller one.
        below: key of the larger one; None is `key` again, in other runs.
        where: which runs have the smaller one; None is all of them.
        beside: which runs have the larger one; None compares each run with itself.
        take: each (every run of one side below every run of the other; a run with itself where `beside` is None),
            or median, mean, spread of either side.
        source: the published relation, for the reader.

    Raises: ValueError for a comparison of a result with itself.
    """

    key: str
    below: str | None = None
    where: Where | None = None
    beside: Where | None = None
    take: Take = "each"
    source: str = ""

    def __post_init__(self) -> None:
        if self.beside is None and self.below in (None, self.key):
            raise ValueError(f"below must be another result than {self.key} where there is no beside, got {self.below}")
        check_where(where=self.where, beside=self.beside)

    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        lower = groups(runs, self.where or {})
        if self.beside is None:
            return [self._of(group, group) for group in lower]
        return [self._of(group, other) for group in lower for other in groups(runs, self.beside)]

    def _of(self, low: Group, high: Group) -> Verdict:
        below = self.below or self.key
        about, beside = sentence(low.label, self.key), sentence(high.label if self.beside else "", below)
        if not low.runs or not high.runs:
            return Verdict(None, f"{about} < {beside}: not run")
        try:
            lows, highs = numbers(low.runs, self.key), numbers(high.runs, below)
        except LookupError as missing:
            return Verdict(False, f"{about} < {beside}: {missing.args[0]}")
        if self.beside is None and self.take == "each":
            passed = all(a < b for a, b in zip(lows, highs, strict=True))
        else:
            passed = max(reduced(lows, self.take)) < min(reduced(highs, self.take))
        sign = "<" if passed else "not <"
        parts = (about, shown(lows, self.take), sign, beside, shown(highs, self.take))
        return Verdict(passed, sentence(*parts, source=self.source))
