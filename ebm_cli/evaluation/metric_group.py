"""The abstraction of a metric group, and the checks of one that a user adds.

An item of `metrics` is the name of a group of this package (`suite.GROUPS`), or a node with a `MetricGroup` as class:

    metrics=[density,{_target_: my_package.metrics.Calibration, n_bins: 20}]

with, in my_package/metrics.py,

    class Calibration(MetricGroup):
        def __init__(self, n_bins: int = 10) -> None:
            self.n_bins = n_bins

        def results(self, context: Context) -> Results:
            energies = context.energy(context.rows)
            return Results({"eval/calibration": …})
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ebm_cli.errors import UserError
from ebm_cli.evaluation.results import Results

if TYPE_CHECKING:
    from ebm_cli.evaluation.context import Context

PREFIX = "eval/"
"""Beginning of every key of a metric group that a user adds."""


class MetricGroup(ABC):
    """A group of results that a config names by `_target_`; it measures after the groups of this package."""

    @abstractmethod
    def results(self, context: "Context") -> Results:
        """Measure the model.

        Args:
            context: the energy in eval mode, the method, the data set and the protocol, with what other groups have
                computed already. Random numbers come from `context.rng(name)`.

        Returns:
            Values under keys that begin with `eval/`, numbers or text; a number that is not finite counts as absent.
            What cannot be measured is absent, with a reason.
        """


def measure(group: MetricGroup, context: "Context", taken: Iterable[str]) -> Results:
    """The results of a group that a user added.

    Args:
        group: the group.
        context: of the evaluation.
        taken: keys that other groups have reported.

    Raises:
        UserError: something else than `Results`, a key that does not begin with `eval/` or that is taken, or a value
            that is neither a number nor a text.
    """
    name, found = f"metrics: {type(group).__name__}.results", group.results(context)
    if not isinstance(found, Results):
        raise UserError(f"{name} must return Results, got {type(found).__name__}")
    for key, value in found.values.items():
        if not (isinstance(key, str) and key.startswith(PREFIX)):
            raise UserError(f"{name} has the key {key!r}; keys must begin with {PREFIX}")
        if key in taken:
            raise UserError(f"{name} has the key {key}, which another metric group has; choose another key")
        if not isinstance(value, int | float | str):
            raise UserError(f"{name}: {key} must be a number or a text, got {type(value).__name__}")
    return found
