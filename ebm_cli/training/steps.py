"""Training as a generator: it asks for a step of its trainer, or at its end for the evaluation of the trained weights,
is sent the result, and returns in the end.

Whoever runs it decides how and where: one run does its own (`alone`), several runs take their steps together and may be
evaluated in other processes (`replicas`). Everything else of a run (logs, evaluations during training, checkpoints, its
end) is the same code in both cases.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from ebm_cli.training.final_evaluation import FinalEvaluation
    from ebm_cli.training.session import Session

T = TypeVar("T")
Steps = Generator["Session | FinalEvaluation", Any, T]
"""Yields the session whose trainer is to take a step, and is sent its `LossOutput`, or a final evaluation, and is sent
its `Measured`; an error of either is thrown into it."""


def alone(steps: Steps[T]) -> T:
    """Do everything that is asked for, one after the other; returns what the generator returns."""
    try:
        asked = next(steps)
        while True:
            asked = answered(steps, asked)
    except StopIteration as end:
        return cast(T, end.value)


def answered(steps: Steps[Any], asked: "Session | FinalEvaluation") -> "Session | FinalEvaluation":
    """Do what a run has asked for, here and now, and let it proceed to what it asks for next.

    Raises:
        StopIteration: the run has ended.
    """
    try:
        answer = asked.answer()
    except BaseException as error:
        return steps.throw(error)
    return steps.send(answer)
