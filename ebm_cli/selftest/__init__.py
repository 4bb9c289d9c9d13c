"""The checks behind `ebm check`: facts that must hold on any machine, for every option that can be chosen; layer 8,
imported by `commands` only.

A subject is a file: it finds its options in the config tree, builds each as `ebm train` would, and yields facts: a
number and the bound that it must not exceed. Nothing is listed by name, so options in a user's `--config-dir` are
checked like ours.
"""

from collections.abc import Callable, Iterator

from ebm_cli.selftest import datasets, densities, derivatives, device, methods, samplers
from ebm_cli.selftest.harness import Bench, Check, Fact, Row, Skip, Unavailable, rows

__all__ = ["SUBJECTS", "Bench", "Check", "Fact", "Row", "Skip", "Unavailable", "examine"]

SUBJECTS: dict[str, Callable[[Bench], Iterator[Check]]] = {
    "device": device.checks,
    "derivatives": derivatives.checks,
    "densities": densities.checks,
    "datasets": datasets.checks,
    "samplers": samplers.checks,
    "methods": methods.checks,
}
"""What there is to check, from what everything else stands on upwards."""


def examine(bench: Bench, subject: str) -> list[Row]:
    """The rows of one of the `SUBJECTS`; all together take about 15 seconds on one CPU thread.

    About two hundred deviations of one run are held against five standard errors, each above it by chance once in two
    million: one sound self-test in ten thousand fails.
    """
    return [row for check in SUBJECTS[subject](bench) for row in rows(check)]
