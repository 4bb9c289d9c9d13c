"""One process's work on one run: train, look, keep, and at the end measure."""

import logging
import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ebm_cli.acceleration.compile_mode import run_fast
from ebm_cli.config.trust import trust_of
from ebm_cli.evaluation.suite import Measured, Results, measure
from ebm_cli.methods import LossOutput
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.console import relative_path
from ebm_cli.reporting.jsonl import JsonLines, cut_back
from ebm_cli.reporting.progress import Progress
from ebm_cli.reporting.tensorboard import TensorBoard
from ebm_cli.reporting.verdicts import meanings
from ebm_cli.rng import generator
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.assemble import assemble, edges, protocol_of
from ebm_cli.runs.directory import RunDirectory
from ebm_cli.runs.files import write_json, write_text
from ebm_cli.runs.signals import Interrupted, Signals
from ebm_cli.runs.stored_config import stored_form
from ebm_cli.system.device import device_of, set_deterministic, set_threads
from ebm_cli.system.memory import forget_peak_memory, keep_freed_memory, peak_memory_mb
from ebm_cli.system.versions import versions
from ebm_cli.training import final_figures
from ebm_cli.training.build import make_trainer, training_work
from ebm_cli.training.early_stopping import Stopping
from ebm_cli.training.guard import Diverged
from ebm_cli.training.monitor import Watch, monitored
from ebm_cli.training.rollback import Rollbacks
from ebm_cli.training.snapshots import Views

log = logging.getLogger(__name__)


class Session:
    """One process's work on one run."""

    def __init__(self, cfg: DictConfig, path: Path, directory: RunDirectory, state: dict[str, Any] | None) -> None:
        self.cfg, self.path, self.directory = cfg, path, directory
        self.trust = trust_of(cfg)
        self.console = Console()
        self.device = device_of(cfg.device)
        keep_freed_memory()
        forget_peak_memory(self.device)
        self.best = math.inf
        self.stopping = Stopping()
        self.rollbacks = Rollbacks() if state is None else Rollbacks(state.get("rollbacks"))
        self.seconds_before = 0.0
        set_deterministic(cfg.deterministic)
        set_threads(cfg.threads)
        self.parts = assemble(cfg, self.trust)
        self.stored = stored_form(cfg) | {
            "device": self.device.type,
            "threads": set_threads(cfg.threads, self.parts.energy),
        }
        self.trainer = make_trainer(cfg, self.parts, self.trust)
        self.protocol = protocol_of(cfg, cfg.seed, cfg.batch_size, self.trust)
        work = training_work(self.parts, self.trainer.batches.batch_size, self.protocol.kernel, cfg.steps)
        threads = int(self.stored["threads"])
        self.stored["compile"] = run_fast(cfg.compile, self.parts.energy, work, threads, self.console.print)
        self.watch = Watch(self.parts, self.protocol, cfg.monitor)
        self.views = Views(self.parts, self.protocol.kernel, cfg.seed)
        self.resumed = state is not None
        if state is None:
            self.parts.method.prepare(self.parts.dataset.reference, self.trainer.rng)
        else:
            self._restore(state)
        # Also for a new run: one that was killed before its first checkpoint left lines here.
        cut_back(path / "metrics.jsonl", self.trainer.step)
        write_text(path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(self.stored)))

    def go(self, signals: Signals) -> float | None:
        """Train to the end, evaluate, report."""
        with ExitStack() as stack:
            self._open_logs()
            stack.callback(self._close_logs)
            if not self.resumed:
                self.board.text("config", OmegaConf.to_yaml(OmegaConf.create(self.stored)))
                self.board.hparams(_hparams(self.stored))
                self._remark(edges(self.parts))
            progress = Progress(self.cfg.steps, self.trainer.step, console=self.console)
            with progress as self.progress, signals.deferred():
                self._train_to_the_end(signals)
            if signals.received is not None:
                raise Interrupted(signals.received, f" at step {self.trainer.step}; a checkpoint was written")
            return self._finish()

    def _remark(self, sentence: str | None) -> None:
        if sentence is not None:
            log.warning(sentence)
            self.console.print(sentence)

    def _open_logs(self) -> None:
        again = any(self.path.glob("events.out.tfevents.*"))
        self.board = TensorBoard(self.path, self.trainer.step if again else None)
        self.metrics = JsonLines(self.path / "metrics.jsonl")

    def _close_logs(self) -> None:
        try:
            self.board.close()
        finally:
            self.metrics.close()

    def _train_to_the_end(self, signals: Signals) -> None:
        """Train; with `guard=rollback`, go back where it diverges, and on from there."""
        if self.cfg.guard == "rollback" and self.trainer.step == 0:
            self.began = time.monotonic()
            self._save()
        while True:
            try:
                self._train(signals)
                self._save()
                return
            except Diverged as error:
                if self.cfg.guard != "rollback" or not self.rollbacks.may():
                    raise
                self._roll_back(error)

    def _roll_back(self, error: Diverged) -> None:
        """Return to the last checkpoint, with lower learning rates and other random numbers."""
        spent = self.seconds_before + time.monotonic() - self.began
        state = checkpoints.read(self.path / checkpoints.FOLDER / "last.pt")
        slower = self.rollbacks.back(error, state)
        self._restore(state)
        self.seconds_before = spent
        name = f"method/after {len(self.rollbacks.done)} rollbacks"
        self.trainer.slow_down(slower, generator(self.cfg.seed, name, self.device))
        self._close_logs()
        cut_back(self.path / "metrics.jsonl", self.trainer.step)
        self._open_logs()
        self.directory.rolled_back(self.trainer.step, self.rollbacks.done)
        log.warning(self.rollbacks.sentence())
        self.progress.message(self.rollbacks.sentence())

    def _train(self, signals: Signals) -> None:
        cfg, trainer, steps = self.cfg, self.trainer, self.cfg.steps
        # Read once: looking a key up in a config costs as much as a small operation on a tensor.
        log_every, eval_every, checkpoint_every = cfg.log_every, cfg.eval_every or 0, cfg.checkpoint_every or 0
        patience = cfg.patience
        self.began = time.monotonic()
        self.shown: dict[str, Any] = {}
        deadline = math.inf if cfg.max_seconds is None else self.began + cfg.max_seconds
        while trainer.step < steps and signals.received is None and time.monotonic() < deadline:
            if self.stopping.enough(patience):
                break
            out = trainer.advance()
            step = trainer.step
            if step % log_every == 0 or step == steps:
                self._guard()
                self._log(out)
            if eval_every and step % eval_every == 0 and step < steps:
                self._evaluate()
            if checkpoint_every and step % checkpoint_every == 0 and step < steps:
                self._save()
        self.seconds = self.seconds_before + time.monotonic() - self.began

    def _guard(self) -> None:
        diverged = self.trainer.guard.read()
        if diverged is not None and self.cfg.guard != "ignore":
            raise diverged

    def _log(self, out: LossOutput) -> None:
        values = {f"train/{name}": float(value) for name, value in out.metrics.items()}
        values[f"train/loss{'' if out.player == 'energy' else '_' + out.player}"] = float(out.loss.detach())
        values["train/grad_norm"] = float(self.trainer.grad_norm)
        values |= {f"train/lr_{player}": lr for player, lr in self.trainer.learning_rates().items()}
        self._write(values)
        self.shown["loss"] = values.get("train/loss", self.shown.get("loss"))
        self.progress.update(self.trainer.step, self.shown)

    def _evaluate(self) -> None:
        numbers = self._look()
        self.stopping.saw(self.trainer.step, self._judge(numbers))
        # Without rows the final evaluation, which then follows, has the same names.
        last = self.stopping.enough(self.cfg.patience)
        if self.watch.by_rows or not last:
            self._write(numbers)
        if not last:
            with self.trainer.ema.applied():
                self.views.look(self.board, self.trainer.step)

    def _look(self) -> Results:
        with self.trainer.ema.applied():
            return self.watch.look()

    def _judge(self, values: Results) -> float | None:
        """Keep the checkpoint if it is the best so far. Returns the monitored result; None where it cannot be had."""
        value = self.watch.value(values)
        if value is None:
            return None
        self.shown[self.watch.name] = value
        if value < self.best:
            self.best = value
            self._keep("best.pt")
        return value

    def _write(self, values: Results) -> None:
        self.metrics.write(self.trainer.step, values)
        self.board.scalars(values, self.trainer.step)

    def _state(self) -> dict[str, Any]:
        elapsed = self.seconds_before + time.monotonic() - self.began
        state = self.trainer.state_dict()
        dataset = {
            "shape": list(self.parts.dataset.shape),
            "standardizer": self.parts.dataset.standardizer.state_dict(),
            "batches": state.pop("batches"),
        }
        return {
            **state,
            "config": self.stored,
            "dataset": dataset,
            "best": self.best,
            "monitored": self.watch.key,
            "stopping": self.stopping.state_dict(),
            "rollbacks": self.rollbacks.done,
            "seconds": elapsed,
            "versions": versions(),
        }

    def _save(self) -> None:
        """A numbered checkpoint, which is also the last."""
        file = self._keep(f"step-{self.trainer.step:08d}.pt")
        checkpoints.link(file, file.with_name("last.pt"))
        checkpoints.prune(file.parent, self.cfg.keep)
        self.directory.at(self.trainer.step)

    def _keep(self, name: str) -> Path:
        """Write a checkpoint: unless `guard=ignore`, never one with a number that is not finite in it."""
        self._guard()
        state, file = self._state(), self.path / checkpoints.FOLDER / name
        bad = checkpoints.not_finite(state)
        if bad is not None and self.cfg.guard != "ignore":
            raise Diverged(self.trainer.step, f"{bad} is not finite")
        checkpoints.save(file, state)
        return file

    def _restore(self, state: dict[str, Any]) -> None:
        dataset = state["dataset"]
        self.parts.dataset.standardizer.load_state_dict(dataset["standardizer"])
        self.trainer.load_state_dict(state | {"batches": dataset["batches"]})
        self.seconds_before = float(state["seconds"])
        # Another result cannot be compared with what was the best.
        if state.get("monitored") == self.watch.key:
            self.stopping = Stopping.of(state["stopping"])
        best = self.path / checkpoints.FOLDER / "best.pt"
        if best.is_file():
            # Its own word: the last checkpoint was written before the evaluation that may have made this one.
            judged = checkpoints.read(best)
            if judged.get("monitored") == self.watch.key:
                self.best = float(judged["best"])

    def _finish(self) -> float | None:
        """The final evaluation, of the averaged weights: results.json, pictures, the closing panel."""
        began = time.monotonic()
        trainer, patience, key = self.trainer, self.cfg.patience, self.watch.key
        stopped = self.stopping.reason(key) if self.stopping.enough(patience) else None
        value, seen = self.stopping.last, {}
        if (self.watch.by_rows or patience is not None) and self.stopping.seen != trainer.step:
            seen = self._look()
            value = self._judge(seen)
        self.parts.energy.eval()
        if patience is not None and math.isfinite(self.best):
            value, step = self.best, self._take_the_best()
        else:
            step = trainer.step
        with trainer.ema.applied():
            measured = measure(self.parts.energy, self.parts.method, self.parts.dataset, self.protocol)
            results = measured.results | self._cost() | {"cost/eval_seconds": time.monotonic() - began}
            figures = final_figures.draw(
                self.parts, self.views, self.board, measured.samples, results, self.path, trainer.step
            )
        numbers = {name: number for name, number in results.items() if not isinstance(number, str)}
        if self.watch.by_rows:
            # What it was chosen by, beside what it is judged by.
            results |= {} if value is None else {key: value}
            numbers = seen | numbers
        elif patience is None:
            self._judge(results)
        if math.isinf(self.best):
            # Nothing was judged: the last is the best that is known.
            folder = self.path / checkpoints.FOLDER
            checkpoints.link(folder / "last.pt", folder / "best.pt")
        self._write(numbers)
        write_json(self.path / "results.json", results)
        self.directory.end("finished", trainer.step, stopped, self.stopping.waited)
        self._tell(measured, results, figures, stopped, step)
        return monitored(self.cfg.monitor, results)

    def _tell(
        self, measured: Measured, results: Results, figures: dict[str, str], stopped: str | None, step: int
    ) -> None:
        """The closing panel."""
        run = relative_path(self.path)
        notes = [*meanings(results), *measured.notes, *(f"{key}: {why}" for key, why in measured.absent.items())]
        which = ""
        if self.rollbacks.done:
            notes.append(f"guard=rollback: {self.rollbacks.sentence()}")
        if stopped is not None:
            notes.append(stopped)
        if step != self.trainer.step:
            which = " which=best"
            notes.append(
                f"These are the results of best.pt, of step {step:,}; last.pt is of step {self.trainer.step:,}."
            )
        if math.isinf(self.best):
            notes.append(f"best.pt is the last checkpoint: nothing was measured that monitor={self.cfg.monitor} names")
        title = final_figures.title(self.path, self.trainer.step, self.seconds)
        commands = [f"ebm sample checkpoint={run}{which}", f"tensorboard --logdir {run}"]
        self.console.print(closing_panel(title, results, {"run": run, **figures}, commands, notes))

    def _take_the_best(self) -> int:
        """Put the best weights in the place of the last, which are in last.pt; the step that they are of."""
        state = checkpoints.read(self.path / checkpoints.FOLDER / "best.pt")
        self.parts.energy.load_state_dict(state["energy"])
        self.parts.method.load_state_dict(state["method"])
        self.trainer.ema.load_state_dict(state["ema"])
        return int(state["step"])

    def _cost(self) -> Results:
        """Evaluations are per data row: a mean over the steps."""
        steps = max(1, self.trainer.step)
        costs = {f"cost/{name}_evals": count / steps for name, count in self.trainer.evaluations._asdict().items()}
        return {**costs, "cost/seconds": self.seconds, "cost/peak_memory_mb": peak_memory_mb(self.device)}


def _hparams(config: dict[str, Any]) -> dict[str, Any]:
    """The choices and the plain keys of a config, flat."""
    flat: dict[str, Any] = {
        str(k): v for k, v in HydraConfig.get().runtime.choices.items() if "hydra" not in str(k) and v
    }

    def walk(node: dict[str, Any], prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                walk(value, f"{prefix}{key}.")
            elif not str(key).startswith("_") and isinstance(value, bool | int | float | str):
                flat[f"{prefix}{key}"] = value

    walk(config, "")
    return flat
