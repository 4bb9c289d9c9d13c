"""How a time comes about.

A row builds its variants, which do the same work: ours, the peers', and the floor, which is the matrix products alone
that the work cannot do without. Before a time is believed, what they compute is compared. Then every variant is called
once to warm up, and in each round all of them in shuffled order: a call that is not timed, because the caches and the
threads of the neighbour are still there, and a block of timed calls. A ratio is the median over the rounds of the
ratios within a round.
"""

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .stats import FEWEST, ratios

OURS, FLOOR = "ours", "floor"
"""How the names of our own variants begin; the name of the floor."""
SLOW = 0.2
"""Seconds a call from which on a block is one call, and none goes before it."""


class Disagreement(Exception):
    """Two variants that should compute the same do not: their times mean nothing."""


class Variant(NamedTuple):
    """One way to do a row's work: `call` does `work` units of it and returns when they are done."""

    name: str
    call: Callable[[], object]
    work: int = 1


class Agreement(NamedTuple):
    """What was compared, how far apart it is, and how far it may be."""

    what: str
    difference: float
    tolerance: float


class Target(NamedTuple):
    """`of` must be at least `at_least` times as fast as `to`; see `render` for when it is met."""

    of: str
    to: str
    at_least: float


class Fact(NamedTuple):
    """A number that is no ratio of times, in its unit; `at_most` is what it should not exceed, None where it informs.

    `spread` is the 95 % interval of the number, where it is a median. A number that there is not is None: `unit` then
    says why.
    """

    what: str
    number: float | None
    unit: str
    at_most: float | None = None
    spread: tuple[float, float] | None = None


class Curve(NamedTuple):
    """How a cost grows: y over x, and the exponent of the fitted power law."""

    what: str
    x_name: str
    y_name: str
    x: list[float]
    y: list[float]
    slope: float


@dataclass(frozen=True)
class Effort:
    """How much a row may cost: rounds, seconds for all of them, seconds of a block."""

    rounds: int = 41
    seconds: float = 60.0
    block: float = 0.05

    @classmethod
    def quick(cls) -> "Effort":
        return cls(rounds=11, seconds=12.0, block=0.02)


@dataclass
class Found:
    """What a row measured."""

    times: dict[str, list[float]] = field(default_factory=dict)
    agreements: list[Agreement] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """A line of the page.

    Args:
        name: how it is asked for; its family is what stands before the first hyphen.
        title: what is measured, in words.
        measure: measures it.
        base: the variant that the others are divided by; None for a row of facts.
        unit: what a time is the time of.
        targets: ratios to reach.
    """

    name: str
    title: str
    measure: Callable[[Effort], Found]
    base: str | None = None
    unit: str = "step"
    targets: tuple[Target, ...] = ()

    @property
    def family(self) -> str:
        return self.name.partition("-")[0]


def agree(agreements: Sequence[Agreement]) -> list[Agreement]:
    """The same list, if all of it is within tolerance.

    Raises: Disagreement for the first that is not, or is not a number.
    """
    for what, difference, tolerance in agreements:
        if not difference <= tolerance:
            raise Disagreement(f"{what}: {difference:.3g} apart, more than {tolerance:.3g}")
    return list(agreements)


def timed(
    variants: Sequence[Variant], effort: Effort, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds a unit of work, for every variant, round by round; at least FEWEST rounds, whatever they take."""
    calls = {variant.name: _calls(variant, effort.block) for variant in variants}
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


def _calls(variant: Variant, block: float) -> int:
    """How many calls make a block; the first two warm up (what is compiled is compiled here)."""
    variant.call()
    variant.call()
    start = time.perf_counter()
    variant.call()
    once = time.perf_counter() - start
    return 1 if once > SLOW else max(2, round(block / once))


def stored(row: Row, found: Found) -> dict[str, Any]:
    """What is kept of a row: medians and ratios, from which the page is drawn."""
    times = found.times
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
        "agreements": [[what, _short(apart), allowed] for what, apart, allowed in found.agreements],
        "facts": [
            fact._asdict() | {"number": None if fact.number is None else _short(fact.number)} for fact in found.facts
        ],
        "curves": [curve._asdict() | {"slope": _short(curve.slope)} for curve in found.curves],
        "notes": found.notes,
    }


def _short(number: float) -> float:
    return float(f"{number:.4g}")
