"""The training loop of one run: advance, guard, log, evaluate, save; with rollbacks, and an end for several reasons.

`training.build.make_session` comes before it and restores the parts to where the run continues; `training.finish` comes
after it and evaluates the trained model.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from omegaconf import DictConfig

from ebm_cli.datasets.findings import Finding
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.values import Values
from ebm_cli.methods import LossOutput
from ebm_cli.runs.directory import RunDirectory
from ebm_cli.runs.instantiate import Parts
from ebm_cli.runs.signals import Interrupted, Signals
from ebm_cli.training.checkpointer import Checkpointer
from ebm_cli.training.common_stop import CommonStop
from ebm_cli.training.early_stopping import EarlyStopping
from ebm_cli.training.guard import Diverged
from ebm_cli.training.history import History
from ebm_cli.training.monitor import Monitor, spans_phases
from ebm_cli.training.rollback import roll_back
from ebm_cli.training.run_log import RunLog
from ebm_cli.training.snapshots import Snapshots
from ebm_cli.training.steps import Steps
from ebm_cli.training.trainer import Trainer

EARLY = (8, 4, 2)
"""Parts of `eval_every` after which a model that may be worse than its start is evaluated, too."""


@dataclass(frozen=True)
class LoopKeys:
    """Keys of the config that the loop needs at every step: reading one from a config costs as much as a small
    operation on a tensor. Their meanings and ranges are in `conf/train.yaml`."""

    seed: int
    steps: int
    max_seconds: float | None
    log_every: int
    eval_every: int | None
    checkpoint_every: int | None
    patience: int | None
    monitor: str
    guard: Literal["stop", "rollback", "ignore"]

    @classmethod
    def of(cls, cfg: DictConfig) -> "LoopKeys":
        """Read them from a training config."""
        return cls(**{key: cfg[key] for key in cls.__dataclass_fields__})


class Session:
    """One process's training of one run; see the module.

    Where several processes train a run (`ranks`), each has a session. They take the same steps and decisions; the first
    one evaluates, while the others wait, and writes.

    Args:
        keys: of the config.
        parts, trainer: what is trained, and what trains it.
        protocol: of the final evaluation.
        monitor, snapshots: evaluations during training.
        history, checkpointer: what a checkpoint holds, and the checkpoints.
        log: open while the session runs.
        directory: locked, with its status.
    """

    def __init__(
        self,
        keys: LoopKeys,
        parts: Parts,
        trainer: Trainer,
        protocol: Protocol,
        monitor: Monitor,
        snapshots: Snapshots,
        history: History,
        checkpointer: Checkpointer,
        log: RunLog,
        directory: RunDirectory,
    ) -> None:
        self.keys, self.parts, self.trainer, self.protocol = keys, parts, trainer, protocol
        self.monitor, self.snapshots = monitor, snapshots
        self.history, self.checkpointer = history, checkpointer
        self.log, self.directory = log, directory

    def train(self, signals: Signals) -> Steps[float]:
        """Train to the end, and write the last checkpoint; returns seconds of training. Every step is asked for.

        Raises:
            Diverged: training diverged, and no rollback is left.
            Interrupted: after a signal; the last checkpoint is written.
        """
        with self.log.progress, signals.deferred():
            seconds = yield from self._train_with_rollbacks(signals)
            signals.received = max(self.trainer.ranks.collect(signals.received or 0)) or None
        if signals.received is not None:
            raise Interrupted(signals.received, f" at step {self.trainer.step}; a checkpoint was written")
        self.trainer.unite()
        return seconds

    def answer(self) -> LossOutput:
        """Take the step that the run asks for."""
        return self.trainer.advance()

    def evaluate_monitor(self) -> Values:
        """The monitor's results for the averaged weights."""
        with self.trainer.ema.applied():
            return dict(self.trainer.ranks.on_first(self.monitor.evaluate))

    def update_best(self, results: Values) -> float | None:
        """Write best.pt if the monitored value is the lowest so far; returns the value, None if there is none."""
        value: float | None = self.trainer.ranks.on_first(lambda: self.monitor.value(results))
        self.checkpointer.save_if_best(value)
        return value

    def _train_with_rollbacks(self, signals: Signals) -> Steps[float]:
        """Train to the end, with returns to the last checkpoint if `guard=rollback`; returns seconds of training."""
        can_roll_back = self.keys.guard == "rollback"
        self.history.clock.start()
        if self.trainer.step == 0 and self.keys.eval_every and self.monitor.compares_start:
            self._evaluate()
        if can_roll_back and self.trainer.step == 0:
            self._save()
        while True:
            try:
                seconds = yield from self._train(signals)
                self._save()
                return seconds
            except Diverged as error:
                if error.is_of_data:
                    raise _with_cures(error, self.log.opening.findings) from None
                if not can_roll_back or not self.history.rollbacks.attempts_left:
                    raise
                roll_back(error, self.trainer, self.history, self.checkpointer, self.keys.seed)
                self._log_rollback()

    def _train(self, signals: Signals) -> Steps[float]:
        """The loop; returns seconds of training."""
        keys, trainer, clock = self.keys, self.trainer, self.history.clock
        log_every, eval_every, checkpoint_every = keys.log_every, keys.eval_every, keys.checkpoint_every
        # A small table is learned and then memorised within a few epochs, which may be fewer steps than `eval_every`.
        early = {(eval_every or 0) // part for part in EARLY} if self.monitor.compares_start else set()
        clock.start()
        longest = math.inf if keys.max_seconds is None else keys.max_seconds
        end, stop = self._end(), CommonStop(trainer.ranks, trainer.step)
        while not stop.is_due(trainer.step, signals, time.monotonic() >= clock.began + longest):
            if trainer.step >= end or self.history.stopping.should_stop(keys.patience):
                if not self._begin_polishing():
                    break
                end = self._end()
            out = yield self
            step = trainer.step
            is_last = step == end and (trainer.polishing is None or trainer.polishing.began is not None)
            if step % log_every == 0 or step == end:
                trainer.guard.require_sound()
                self._log(out)
            if eval_every and (step % eval_every == 0 or step in early) and not is_last:
                self._evaluate()
            if checkpoint_every and step % checkpoint_every == 0 and not is_last:
                self._save()
        return clock.read()

    def _end(self) -> int:
        """Last step of the present phase."""
        polishing = self.trainer.polishing
        return self.keys.steps if polishing is None or polishing.began is None else polishing.end

    def _begin_polishing(self) -> bool:
        """Begin the second phase; False if the run has none, or is at the end of it.

        It has its own patience, and a learning rate that earlier rollbacks have lowered. It has its own best weights
        where the monitored result does not see what it mends: the first phase would nearly always be the better one.
        """
        polishing = self.trainer.polishing
        if polishing is None or polishing.began is not None:
            return False
        self.trainer.begin_polishing(self.parts.dataset.reference, slower=self.history.rollbacks.rate_factor)
        self.history.stopping = EarlyStopping()
        if not spans_phases(self.history.monitored):
            self.history.best = math.inf
        return True

    def _log_rollback(self) -> None:
        step, rollbacks = self.trainer.step, self.history.rollbacks
        self.log.cut_back(step)
        self.directory.record_rollback(step, rollbacks.history)
        self.log.remark(rollbacks.describe())

    def _log(self, out: LossOutput) -> None:
        values = {f"train/{name}": float(value) for name, value in out.metrics.items()}
        values[f"train/loss{'' if out.player == 'energy' else '_' + out.player}"] = float(out.loss.detach())
        values["train/grad_norm"] = float(self.trainer.grad_norm)
        values = self.trainer.ranks.means(values)
        values |= {f"train/lr_{player}": rate for player, rate in self.trainer.learning_rates().items()}
        self.log.write(self.trainer.step, values)

    def _evaluate(self) -> None:
        """Evaluate the averaged weights during training."""
        step, stopping = self.trainer.step, self.history.stopping
        numbers = self.evaluate_monitor()
        stopping.update(step, self.update_best(numbers), counts=step % (self.keys.eval_every or 1) == 0)
        is_last = stopping.should_stop(self.keys.patience)
        # Without rows the final evaluation, which then follows, has the same names.
        if self.monitor.uses_validation_rows or not is_last:
            self.log.write(step, numbers)
        if not is_last:
            with self.trainer.ema.applied():
                self.trainer.ranks.on_first(lambda: self._write_snapshots(step))

    def _write_snapshots(self, step: int) -> None:
        for sentence in self.snapshots.write(self.log.board, step):
            self.log.remark_once(sentence)

    def _save(self) -> None:
        self.checkpointer.save()
        self.directory.set_progress(self.trainer.step)


def _with_cures(error: Diverged, findings: Sequence[Finding]) -> Diverged:
    """The same divergence with what the report on the data found, in place of the usual remedy."""
    causes = [f"{finding.fact}; {finding.cure}" for finding in findings if finding.breaks_score_matching]
    return Diverged(error.step, error.what, "; ".join(causes), error.is_of_data) if causes else error
