"""Every data set serves what it says: the same held-out rows each time, and rows of its density where that is known."""

from collections.abc import Iterator
from functools import partial

from ebm_cli.datasets import Dataset
from ebm_cli.selftest.densities import density_facts
from ebm_cli.selftest.harness import Bench, Check, Fact, Skip
from ebm_cli.selftest.tolerances import RELATIVE, relative_error

N_ROWS = 1_000


def checks(bench: Bench) -> Iterator[Check]:
    """A check for each option of the group `dataset`."""
    for name in bench.options("dataset"):
        yield Check(name, partial(_facts, bench, name))


def _facts(bench: Bench, name: str) -> Iterator[Fact | Skip]:
    rng = bench.rng(f"datasets/{name}")
    dataset: Dataset = bench.build("dataset", name, Dataset).double()
    rows = dataset.held_out(N_ROWS)
    yield Fact("held-out rows, again", int((rows != dataset.held_out(N_ROWS)).sum()), 0.0, "differ")
    back = dataset.standardizer.inverse(dataset.standardizer(rows))
    yield Fact("units and back", relative_error(back, rows), RELATIVE, "relative")
    if dataset.density is None:
        yield Skip("density", "it is not known")
    else:
        yield from density_facts(dataset.density, rng)
