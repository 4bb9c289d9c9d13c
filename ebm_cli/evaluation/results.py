"""The results of a measurement: values by key, reasons for absent ones, and notes for the reader."""

import math
from dataclasses import dataclass, field

from ebm_cli.evaluation.values import Value


@dataclass(frozen=True)
class Results:
    """Values, reasons and notes; `a | b` merges two.

    Attributes:
        values: key of results.json, such as `eval/kl`, → number or text.
        absent: key → why there is no value.
        notes: sentences for the reader, such as how far a number is reliable.
    """

    values: dict[str, Value] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __or__(self, other: "Results") -> "Results":
        """Merge two: a value of `other` replaces one of the same key, at its position; a note appears once."""
        notes = (*self.notes, *(note for note in other.notes if note not in self.notes))
        return Results(self.values | other.values, self.absent | other.absent, notes)

    def finite(self) -> "Results":
        """Results whose non-finite numbers are absent, with the number as the reason."""
        bad = {key: x for key, x in self.values.items() if isinstance(x, float) and not math.isfinite(x)}
        kept = {key: x for key, x in self.values.items() if key not in bad}
        return Results(kept, self.absent | {key: f"its value is {x}" for key, x in bad.items()}, self.notes)
