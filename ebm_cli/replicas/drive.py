"""Several runs in lockstep: each is the generator of its own run, and their steps are taken together.

A run that asks for a step waits until all others do; then one joint step is taken, and each is given its result.
What a run does between two steps (logs, evaluations, checkpoints) is its own code, in turn. One that ends leaves: the
others train without it. The final evaluation of each is made here, or by other processes while the others train.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ebm_cli.methods import LossOutput
from ebm_cli.replicas.evaluators import Evaluators, Stage
from ebm_cli.replicas.step import JointStep
from ebm_cli.reporting.stages import log_stage
from ebm_cli.training.final_evaluation import FinalEvaluation
from ebm_cli.training.session import Session
from ebm_cli.training.steps import Steps, answered

TOGETHER = 16
"""Runs of one joint step, at most: fewer take longer each, and the activations of more need more memory."""


@dataclass
class Ended:
    """The end of a run.

    Attributes:
        value: that its generator returned.
        error: that it raised instead; None if it did not.
    """

    value: Any = None
    error: BaseException | None = None


@dataclass
class _Waiting:
    """A run that has asked for a step, at this time (of `time.monotonic`)."""

    session: Session
    since: float


class Lockstep:
    """R runs that are trained together.

    Args:
        runs: generators of the runs, whose configs differ in their seeds.
        focus: called with the number of a run before its generator runs: sets what is global and belongs to a run.
        threads: of the joint step, ≥ 1; a run has its own number in its own code.
        on_step: called with the step and the result of each run that took it.
        on_end: called with the number of a run that has ended.
        evaluators: processes that make the final evaluations; None to make them here.
    """

    def __init__(
        self,
        runs: Sequence[Steps[Any]],
        focus: Callable[[int], None],
        threads: int,
        on_step: Callable[[int, Sequence[LossOutput]], None],
        on_end: Callable[[int], None],
        evaluators: Evaluators | None = None,
    ) -> None:
        self._evaluators = evaluators
        self._evaluated: set[int] = set()
        self._runs, self._focus, self._threads = list(runs), focus, threads
        self._on_step, self._on_end = on_step, on_end
        self._waiting: dict[int, _Waiting] = {}
        self._ended = [Ended() for _ in runs]
        self._members: list[int] = []
        self._steps: list[tuple[list[int], JointStep]] = []

    def run(self) -> list[Ended]:
        """Run all to their ends. A run that fails, or that a signal ends, does not end the others' code."""
        for i, steps in enumerate(self._runs):
            self._continue(i, partial(next, steps), 0.0)
        while self._waiting or self._evaluated:
            if self._waiting:
                self._advance()
            if self._evaluators is not None and self._evaluated:
                self._collect(self._evaluators)
        return self._ended

    def _collect(self, evaluators: Evaluators) -> None:
        """Let those runs proceed whose evaluations are there; without a run that trains, wait a little for some."""
        try:
            found = evaluators.collect(waits=not self._waiting)
        except BaseException as error:
            found = [(i, error) for i in sorted(self._evaluated)]
        for i, message in found:
            if isinstance(message, Stage):
                self._focus(i)
                log_stage("evaluation", *message)
                continue
            self._evaluated.remove(i)
            steps = self._runs[i]
            is_error = isinstance(message, BaseException)
            self._continue(i, partial(steps.throw if is_error else steps.send, message), 0.0)

    def _advance(self) -> None:
        """One step of every run that has not ended."""
        began = time.monotonic()
        try:
            with _threads(self._threads):
                found = self._step()
        except BaseException as error:
            for i in list(self._waiting):
                self._continue(i, partial(self._runs[i].throw, error), 0.0)
            return
        self._on_step(self._waiting[found[0][0]].session.trainer.step, [out for _, out in found])
        share = (time.monotonic() - began) / len(found)
        for i, out in found:
            self._continue(i, partial(self._runs[i].send, out), share)

    def _step(self) -> list[tuple[int, LossOutput]]:
        members = list(self._waiting)
        if members != self._members:
            self._members = members
            groups = [members[i : i + TOGETHER] for i in range(0, len(members), TOGETHER)]
            self._steps = [(own, JointStep([self._waiting[i].session.trainer for i in own])) for own in groups]
        return [pair for own, step in self._steps for pair in zip(own, step(), strict=True)]

    def _continue(self, i: int, go_on: Callable[[], Session | FinalEvaluation], share: float) -> None:
        """Let a run proceed until it asks for what others take part in, or ends.

        Its clock counts its own time and its `share` of the step, in seconds.
        """
        self._focus(i)
        before = self._waiting.pop(i, None)
        if before is not None:
            before.session.history.clock.skip(time.monotonic() - before.since - share)
        try:
            asked = go_on()
            while isinstance(asked, FinalEvaluation) and self._evaluators is None:
                asked = answered(self._runs[i], asked)
        except StopIteration as end:
            self._ended[i].value = end.value
        except BaseException as error:
            self._ended[i].error = error
        else:
            self._wait(i, asked)
            return
        self._on_end(i)

    def _wait(self, i: int, asked: Session | FinalEvaluation) -> None:
        if isinstance(asked, FinalEvaluation):
            assert self._evaluators is not None
            self._evaluated.add(i)
            self._evaluators.give(i, asked.stored)
        else:
            self._waiting[i] = _Waiting(asked, time.monotonic())


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """Inside, torch computes with this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
