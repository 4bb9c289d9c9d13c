"""Training as a generator: it asks for a step of its trainer, is sent the step's result, and returns in the end.

Whoever runs it decides how steps are taken: one run takes its own (`alone`), several runs take theirs together
(`replicas`). Everything else of a run (logs, evaluations, checkpoints, its end) is the same code in both cases.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, TypeVar, cast

from ebm_cli.methods import LossOutput

if TYPE_CHECKING:
    from ebm_cli.training.session import Session

T = TypeVar("T")
Steps = Generator["Session", LossOutput, T]
"""Yields the session whose trainer is to take a step; an error of the step is thrown into it."""


def alone(steps: Steps[T]) -> T:
    """Take every step that is asked for, one after the other; returns what the generator returns."""
    try:
        session = next(steps)
        while True:
            try:
                out = session.trainer.advance()
            except BaseException as error:
                session = steps.throw(error)
                continue
            session = steps.send(out)
    except StopIteration as end:
        return cast(T, end.value)
