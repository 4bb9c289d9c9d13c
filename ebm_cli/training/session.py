"""The training of one run by one process: restore → loop(advance, guard, log, evaluate, save) → finish.

Restoring comes first, in `training.build.make_session`: a session is handed parts that stand where the run continues.
"""

import math
import time
from dataclasses import dataclass
from typing import Literal

from omegaconf import DictConfig

from ebm_cli.evaluation import suite
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.evaluation.values import Value, Values
from ebm_cli.methods import LossOutput
from ebm_cli.rng import generator
from ebm_cli.runs.directory import RunDirectory
from ebm_cli.runs.instantiate import Parts
from ebm_cli.runs.signals import Interrupted, Signals
from ebm_cli.system.files import write_json
from ebm_cli.system.memory import peak_memory_mb
from ebm_cli.training import final_figures
from ebm_cli.training.checkpointer import Checkpointer
from ebm_cli.training.guard import Diverged
from ebm_cli.training.history import History
from ebm_cli.training.monitor import Monitor, monitored_value
from ebm_cli.training.run_log import RunLog
from ebm_cli.training.snapshots import Snapshots
from ebm_cli.training.summary import Ending, closing_summary
from ebm_cli.training.trainer import Trainer


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

    def run(self, signals: Signals) -> float | None:
        """Train to the end, evaluate and report; returns the monitored value of the result.

        Raises:
            Diverged: and no rollback is left.
            Interrupted: after a signal, when a checkpoint was written.
        """
        with self.log.progress, signals.deferred():
            seconds = self._train_with_rollbacks(signals)
        if signals.received is not None:
            raise Interrupted(signals.received, f" at step {self.trainer.step}; a checkpoint was written")
        return self._finish(seconds)

    def _train_with_rollbacks(self, signals: Signals) -> float:
        """Train to the end, with returns to the last checkpoint if `guard=rollback`; returns seconds of training."""
        can_roll_back = self.keys.guard == "rollback"
        self.history.clock.start()
        if can_roll_back and self.trainer.step == 0:
            self._save()
        while True:
            try:
                seconds = self._train(signals)
                self._save()
                return seconds
            except Diverged as error:
                if not can_roll_back or not self.history.rollbacks.attempts_left:
                    raise
                self._roll_back(error)

    def _train(self, signals: Signals) -> float:
        """The loop; returns seconds of training."""
        keys, trainer, clock, stopping = self.keys, self.trainer, self.history.clock, self.history.stopping
        steps, log_every, eval_every, checkpoint_every, patience = (
            keys.steps, keys.log_every, keys.eval_every, keys.checkpoint_every, keys.patience
        )  # fmt: skip
        clock.start()
        deadline = math.inf if keys.max_seconds is None else clock.began + keys.max_seconds
        while trainer.step < steps and signals.received is None and time.monotonic() < deadline:
            if stopping.should_stop(patience):
                break
            out = trainer.advance()
            step = trainer.step
            if step % log_every == 0 or step == steps:
                trainer.guard.require_sound()
                self._log(out)
            if eval_every and step % eval_every == 0 and step < steps:
                self._evaluate()
            if checkpoint_every and step % checkpoint_every == 0 and step < steps:
                self._save()
        return clock.read()

    def _roll_back(self, error: Diverged) -> None:
        """Return to the last checkpoint, with lower learning rates and other random numbers."""
        trainer, rollbacks, clock = self.trainer, self.history.rollbacks, self.history.clock
        spent, state = clock.read(), self.checkpointer.load_last()
        factor = rollbacks.record(error, state)
        self.checkpointer.restore(state)
        clock.before = spent
        name = f"method/after {len(rollbacks.history)} rollbacks"
        trainer.slow_down(factor, generator(self.keys.seed, name, trainer.rng.device))
        self.log.cut_back(trainer.step)
        self.directory.record_rollback(trainer.step, rollbacks.history)
        self.log.remark(rollbacks.describe())

    def _log(self, out: LossOutput) -> None:
        values = {f"train/{name}": float(value) for name, value in out.metrics.items()}
        values[f"train/loss{'' if out.player == 'energy' else '_' + out.player}"] = float(out.loss.detach())
        values["train/grad_norm"] = float(self.trainer.grad_norm)
        values |= {f"train/lr_{player}": rate for player, rate in self.trainer.learning_rates().items()}
        self.log.write(self.trainer.step, values)

    def _evaluate(self) -> None:
        """Evaluate the averaged weights during training."""
        step, stopping = self.trainer.step, self.history.stopping
        with self.trainer.ema.applied():
            numbers = self.monitor.evaluate()
        stopping.update(step, self._update_best(numbers))
        is_last = stopping.should_stop(self.keys.patience)
        # Without rows the final evaluation, which then follows, has the same names.
        if self.monitor.uses_validation_rows or not is_last:
            self.log.write(step, numbers)
        if not is_last:
            with self.trainer.ema.applied():
                self.snapshots.write(self.log.board, step)

    def _update_best(self, results: Values) -> float | None:
        """Write best.pt if the monitored value is the lowest so far; returns the value, None if there is none."""
        value = self.monitor.value(results)
        if value is not None and value < self.history.best:
            self.history.best = value
            self.checkpointer.save_best()
        return value

    def _save(self) -> None:
        self.checkpointer.save()
        self.directory.set_progress(self.trainer.step)

    def _finish(self, seconds: float) -> float | None:
        """Evaluate the averaged weights, those of best.pt if there is patience; write results, figures and summary."""
        began = time.monotonic()
        trainer, monitor, history, patience = self.trainer, self.monitor, self.history, self.keys.patience
        monitored, value = self._evaluate_last_step()
        self.parts.energy.eval()
        evaluated = trainer.step
        if patience is not None and math.isfinite(history.best):
            value, evaluated = history.best, self.checkpointer.load_best_weights()
        with trainer.ema.applied():
            evaluation = suite.evaluate(self.parts.energy, self.parts.method, self.parts.dataset, self.protocol)
            results = evaluation.results.values | self._costs(seconds) | {"cost/eval_seconds": time.monotonic() - began}
            figures = final_figures.draw(
                self.parts,
                self.snapshots,
                self.log.board,
                evaluation.samples,
                results,
                self.directory.path,
                trainer.step,
            )
        numbers: dict[str, Value] = {name: number for name, number in results.items() if not isinstance(number, str)}
        if monitor.uses_validation_rows:
            # The value that chose the weights, beside the results on the test rows.
            results |= {} if value is None else {monitor.key: value}
            numbers = {**monitored, **numbers}
        elif patience is None:
            self._update_best(results)
        if math.isinf(history.best):
            self.checkpointer.use_last_as_best()
        self.log.write(trainer.step, numbers)
        write_json(self.directory.path / "results.json", results)
        stopped = history.stopping.reason(monitor.key) if history.stopping.should_stop(patience) else None
        self.directory.finish("finished", trainer.step, stopped, history.stopping.waited)
        ending = Ending(trainer.step, evaluated, seconds, stopped)
        self.log.console.print(
            closing_summary(self.directory.path, ending, evaluation.results, results, figures, history)
        )
        return monitored_value(self.keys.monitor, results)

    def _evaluate_last_step(self) -> tuple[dict[str, float], float | None]:
        """Results of the monitor at the last step, empty if they are written already or need not be; their value."""
        stopping = self.history.stopping
        is_needed = self.monitor.uses_validation_rows or self.keys.patience is not None
        if not is_needed or stopping.seen == self.trainer.step:
            return {}, stopping.last
        with self.trainer.ema.applied():
            results = self.monitor.evaluate()
        return results, self._update_best(results)

    def _costs(self, seconds: float) -> dict[str, Value]:
        """Costs of training; evaluations are per data row: a mean over the steps."""
        steps = max(1, self.trainer.step)
        costs = {f"cost/{name}_evals": count / steps for name, count in self.trainer.evaluations._asdict().items()}
        return {**costs, "cost/seconds": seconds, "cost/peak_memory_mb": peak_memory_mb(self.trainer.rng.device)}
