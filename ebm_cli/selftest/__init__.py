"""The checks behind `ebm check`: facts that must hold on any machine, for every option that can be chosen; layer 8,
imported by `commands` only.

A subject is a file: it finds its options in the config tree, builds each as `ebm train` would, and yields facts: a
number and the bound that it must not exceed. No option is listed by name, so those of a user's `--config-dir` are
checked like ours.
"""

from collections.abc import Callable, Iterator

from ebm_cli.selftest.datasets import dataset_checks
from ebm_cli.selftest.densities import density_checks
from ebm_cli.selftest.derivatives import derivative_checks
from ebm_cli.selftest.device import device_checks
from ebm_cli.selftest.harness import Check, Fact, Harness, Row, Skip, Unavailable, failures, measure_check
from ebm_cli.selftest.methods import method_checks
from ebm_cli.selftest.optimizers import optimizer_checks
from ebm_cli.selftest.samplers import sampler_checks
from ebm_cli.selftest.training import training_checks

__all__ = ["OF_A_DEVICE", "SUBJECTS", "Check", "Fact", "Harness", "Row", "Skip", "Unavailable", "examine", "failures"]

SUBJECTS: dict[str, Callable[[Harness], Iterator[Check]]] = {
    "device": device_checks,
    "derivatives": derivative_checks,
    "densities": density_checks,
    "datasets": dataset_checks,
    "samplers": sampler_checks,
    "methods": method_checks,
    "optimizers": optimizer_checks,
    "training": training_checks,
}
"""The subjects of the self-test, each after those that it depends on."""
OF_A_DEVICE = ("device", "training")
"""The subjects that compute on a device other than the CPU, and nothing else there."""


def examine(harness: Harness, subject: str) -> list[Row]:
    """The rows of one of the `SUBJECTS`; all together take about 25 seconds on one CPU thread.

    A run compares about 250 deviations with five standard errors, each of which is exceeded by chance once in
    two million: one sound self-test in ten thousand fails.
    """
    return [row for check in SUBJECTS[subject](harness) for row in measure_check(check)]
