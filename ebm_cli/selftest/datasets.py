"""Checks of the data sets: the held-out rows are the same each time, and follow the density where it is known."""

from collections.abc import Iterator
from functools import partial

from ebm_cli.datasets import Dataset
from ebm_cli.selftest.densities import density_facts
from ebm_cli.selftest.harness import Check, Fact, Harness, Skip
from ebm_cli.selftest.tolerances import RELATIVE, relative_error

N_ROWS = 1_000


def dataset_checks(harness: Harness) -> Iterator[Check]:
    """A check for each option of the group `dataset`."""
    for name in harness.options("dataset"):
        yield Check(name, partial(_option_facts, harness, name))


def _option_facts(harness: Harness, name: str) -> Iterator[Fact | Skip]:
    rng = harness.rng(f"datasets/{name}")
    dataset: Dataset = harness.build("dataset", name, Dataset).double()
    rows = dataset.held_out(N_ROWS)
    yield Fact("held-out rows, twice", int((rows != dataset.held_out(N_ROWS)).sum()), 0.0, "differ")
    back = dataset.standardizer.inverse(dataset.standardizer(rows))
    yield Fact("units and back", relative_error(back, rows), RELATIVE, "relative")
    if dataset.density is None:
        yield Skip("density", "the density is unknown")
    else:
        yield from density_facts(dataset.density, rng)
