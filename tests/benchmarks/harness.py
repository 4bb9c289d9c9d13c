"""The measurement of times: variants of the same work, compared first, then timed in interleaved rounds.

A row builds its variants, which do the same work: ours, the peers', and the floor, which is only the matrix products
that the work requires. Their results are compared before any time is measured. Each variant is then called twice to
warm up. In each round all variants run in shuffled order: one untimed call, because the caches and threads of the
variant before are still active, and a block of timed calls. A ratio is the median over the rounds of the ratios within
a round.
"""

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .stats import FEWEST, ratios

OURS, FLOOR = "ours", "floor"
"""First word in the names of our variants; name of the floor."""
SLOW = 0.2
"""Seconds of a call above which a block is a single call without an untimed one before it."""


class Disagreement(Exception):
    """Two variants that should compute the same do not, so that their times cannot be compared."""


class Variant(NamedTuple):
    """One implementation of a row's work: `call` does `work` units of it and returns when they are done."""

    name: str
    call: Callable[[], object]
    work: int = 1


class Agreement(NamedTuple):
    """A comparison of two results: their difference and its tolerance."""

    what: str
    difference: float
    tolerance: float


class Target(NamedTuple):
    """`of` must be at least `at_least` times as fast as `to`; `render` decides whether it is met."""

    of: str
    to: str
    at_least: float


class Fact(NamedTuple):
    """A number that is not a ratio of times, in its unit.

    Attributes:
        what: its name.
        number: None if there is none; `unit` then has the reason.
        unit: of the number.
        at_most: bound of the number; None for a number without a target.
        spread: the 95 % interval of a median; None for a single number.
    """

    what: str
    number: float | None
    unit: str
    at_most: float | None = None
    spread: tuple[float, float] | None = None


class Curve(NamedTuple):
    """Growth of a cost: y over x, and the exponent of the fitted power law."""

    what: str
    x_name: str
    y_name: str
    x: list[float]
    y: list[float]
    slope: float


@dataclass(frozen=True)
class Effort:
    """Limits of a row: rounds, seconds of all rounds, seconds of a block."""

    rounds: int = 41
    seconds: float = 60.0
    block: float = 0.05

    @classmethod
    def quick(cls) -> "Effort":
        return cls(rounds=11, seconds=12.0, block=0.02)


@dataclass
class Measurement:
    """Everything that a row measured."""

    times: dict[str, list[float]] = field(default_factory=dict)
    agreements: list[Agreement] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """A line of the page.

    Args:
        name: its family and a suffix after the first hyphen.
        title: description of the work.
        measure: function that measures it.
        base: the variant that the others are compared with; None for a row of facts.
        unit: of work, the time of which is measured.
        targets: ratios to reach.
    """

    name: str
    title: str
    measure: Callable[[Effort], Measurement]
    base: str | None = None
    unit: str = "step"
    targets: tuple[Target, ...] = ()

    @property
    def family(self) -> str:
        return self.name.partition("-")[0]


def require_agreement(agreements: Sequence[Agreement]) -> list[Agreement]:
    """Return the agreements if all are within their tolerance.

    Raises:
        Disagreement: a difference is larger, or not a number.
    """
    for what, difference, tolerance in agreements:
        if not difference <= tolerance:
            raise Disagreement(f"{what}: {difference:.3g} apart, more than {tolerance:.3g}")
    return list(agreements)


def measure_times(
    variants: Sequence[Variant], effort: Effort, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds for a unit of work, for every variant, round by round; at least `FEWEST` rounds."""
    calls = {variant.name: _calls_in_block(variant, effort.block) for variant in variants}
    times: dict[str, list[float]] = {variant.name: [] for variant in variants}
    order, shuffle = list(variants), random.Random(0).shuffle
    began = time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        for done in range(effort.rounds):
            if done >= FEWEST and time.perf_counter() - began > effort.seconds:
                break
            shuffle(order)
            for variant in order:
                n = calls[variant.name]
                if n > 1:
                    variant.call()
                start = clock()
                for _ in range(n):
                    variant.call()
                times[variant.name].append((clock() - start) / (n * variant.work))
    finally:
        gc.enable()
    return times


def _calls_in_block(variant: Variant, block: float) -> int:
    """Number of calls in a block; the first two calls warm up, and compile what is compiled."""
    variant.call()
    variant.call()
    start = time.perf_counter()
    variant.call()
    once = time.perf_counter() - start
    return 1 if once > SLOW else max(2, round(block / once))


def stored_form(row: Row, measurement: Measurement) -> dict[str, Any]:
    """The medians and ratios of a row, from which the page is rendered."""
    times = measurement.times
    pairs = [(of, to) for of in times for to in times if of != to and (of.startswith(OURS) or to in (row.base, FLOOR))]
    targets = {(target.of, target.to): target.at_least for target in row.targets}
    return {
        "title": row.title,
        "unit": row.unit,
        "base": row.base,
        "rounds": len(next(iter(times.values()), [])),
        "seconds": {name: _short(sorted(values)[len(values) // 2]) for name, values in times.items()},
        "ratios": [
            {
                "of": of,
                "to": to,
                **{key: _short(value) for key, value in ratios(times[of], times[to])._asdict().items()},
                "target": targets.get((of, to)),
            }
            for of, to in pairs
        ],
        "agreements": [[what, _short(apart), allowed] for what, apart, allowed in measurement.agreements],
        "facts": [
            fact._asdict() | {"number": None if fact.number is None else _short(fact.number)}
            for fact in measurement.facts
        ],
        "curves": [curve._asdict() | {"slope": _short(curve.slope)} for curve in measurement.curves],
        "notes": measurement.notes,
    }


def _stored_fact(fact: Fact) -> dict[str, Any]:
    return fact._asdict() | {"number": None if fact.number is None else _short(fact.number)}


def _short(number: float) -> float:
    """A number rounded to four digits."""
    return float(f"{number:.4g}")
