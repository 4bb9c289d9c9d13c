"""One process's work on one run: train, look, keep, and at the end measure."""

import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ebm_cli.config import trust_of
from ebm_cli.evaluation.divergences import Evaluator
from ebm_cli.evaluation.partition import COARSE
from ebm_cli.experiment import assemble, device_of, make_trainer, set_threads
from ebm_cli.measuring import Results, glance, measure, protocol_of
from ebm_cli.memory import forget_peak_memory, peak_memory_mb
from ebm_cli.methods import LossOutput
from ebm_cli.reporting import plots
from ebm_cli.reporting.console import Progress, as_typed, closing_panel
from ebm_cli.reporting.jsonl import JsonLines, cut_back
from ebm_cli.reporting.tensorboard import TensorBoard
from ebm_cli.reporting.verdicts import meanings
from ebm_cli.training import checkpoint as checkpoints
from ebm_cli.training.guard import Diverged
from ebm_cli.training.rundir import Interrupted, RunDirectory, Signals, versions, write_json

MONITORS = ("eval/kl", "eval/nll", "eval/fisher")
"""What `monitor=auto` takes: the first that the data set allows."""


class Session:
    """One process's work on one run."""

    def __init__(self, cfg: DictConfig, path: Path, directory: RunDirectory, state: dict[str, Any] | None) -> None:
        self.cfg, self.path, self.directory = cfg, path, directory
        self.trust = trust_of(cfg)
        self.console = Console()
        self.device = device_of(cfg.device)
        forget_peak_memory(self.device)
        self.best = math.inf
        self.seconds_before = 0.0
        set_deterministic(cfg)
        self.parts = assemble(cfg, self.trust)
        self.stored = stored_form(cfg) | {
            "device": self.device.type,
            "threads": set_threads(cfg.threads, self.parts.energy),
        }
        self.trainer = make_trainer(cfg, self.parts, self.trust)
        self.resumed = state is not None
        if state is None:
            self.parts.method.prepare(self.parts.dataset.reference, self.trainer.rng)
        else:
            self._restore(state)
        # Also for a new run: one that was killed before its first checkpoint left lines here.
        cut_back(path / "metrics.jsonl", self.trainer.step)
        self.evaluator = Evaluator(self.parts.dataset, cfg.eval.n_samples, COARSE)
        OmegaConf.save(OmegaConf.create(self.stored), path / "config.yaml")

    def go(self, signals: Signals) -> float | None:
        """Train to the end, evaluate, report."""
        with ExitStack() as stack:
            again = any(self.path.glob("events.out.tfevents.*"))
            self.board = TensorBoard(self.path, self.trainer.step if again else None)
            stack.callback(self.board.close)
            self.metrics = stack.enter_context(JsonLines(self.path / "metrics.jsonl"))
            if not self.resumed:
                self.board.text("config", OmegaConf.to_yaml(OmegaConf.create(self.stored)))
                self.board.hparams(_hparams(self.stored))
            progress = Progress(self.cfg.steps, self.trainer.step, console=self.console)
            with progress as self.progress, signals.deferred():
                self._train(signals)
                self._save()
            if signals.received is not None:
                raise Interrupted(signals.received, f" at step {self.trainer.step}; a checkpoint was written")
            return self._finish()

    def _train(self, signals: Signals) -> None:
        cfg, trainer = self.cfg, self.trainer
        self.began = time.monotonic()
        self.shown: dict[str, Any] = {}
        deadline = math.inf if cfg.max_seconds is None else self.began + cfg.max_seconds
        while trainer.step < cfg.steps and signals.received is None and time.monotonic() < deadline:
            out = trainer.advance()
            step = trainer.step
            if step % cfg.log_every == 0 or step == cfg.steps:
                self._guard()
                self._log(out)
            if cfg.eval_every is not None and step % cfg.eval_every == 0 and step < cfg.steps:
                self._evaluate()
            if cfg.checkpoint_every is not None and step % cfg.checkpoint_every == 0 and step < cfg.steps:
                self._save()
        self.seconds = self.seconds_before + time.monotonic() - self.began

    def _guard(self) -> None:
        diverged = self.trainer.guard.read()
        if diverged is not None and self.cfg.guard == "stop":
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
        with self.trainer.ema.applied():
            values = glance(self.parts, self.evaluator, self.cfg.seed)
        numbers = {key: value for key, value in values.items() if isinstance(value, float)}
        self._write(numbers)
        self._judge(numbers)

    def _judge(self, values: Results) -> float | None:
        """Keep the checkpoint if it is the best so far. Returns the monitored result; None where it cannot be had."""
        name = monitored(self.cfg.monitor, values)
        if name is None:
            return None
        value = float(values[name])
        self.shown[name.removeprefix("eval/")] = value
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
        if bad is not None and self.cfg.guard == "stop":
            raise Diverged(self.trainer.step, bad)
        checkpoints.save(file, state)
        return file

    def _restore(self, state: dict[str, Any]) -> None:
        dataset = state["dataset"]
        self.parts.dataset.standardizer.load_state_dict(dataset["standardizer"])
        self.trainer.load_state_dict(state | {"batches": dataset["batches"]})
        self.seconds_before = float(state["seconds"])
        best = self.path / checkpoints.FOLDER / "best.pt"
        if best.is_file():
            # Its own word: the last checkpoint was written before the evaluation that may have made this one.
            judged = checkpoints.read(best)
            if judged["config"]["monitor"] == self.cfg.monitor:
                self.best = float(judged["best"])

    def _finish(self) -> float | None:
        """The final evaluation, of the averaged weights: results.json, pictures, the closing panel."""
        began = time.monotonic()
        self.parts.energy.eval()
        protocol = protocol_of(self.cfg, self.cfg.seed, self.cfg.batch_size, self.trust)
        with self.trainer.ema.applied():
            measured = measure(self.parts, protocol)
            results = measured.results | self._cost() | {"cost/eval_seconds": time.monotonic() - began}
            figures = {} if measured.samples is None else self._figures(measured.samples, results)
        numbers = {key: value for key, value in results.items() if not isinstance(value, str)}
        value = self._judge(results)
        if math.isinf(self.best):
            # Nothing was judged: the last is the best that is known.
            folder = self.path / checkpoints.FOLDER
            checkpoints.link(folder / "last.pt", folder / "best.pt")
        self._write(numbers)
        write_json(self.path / "results.json", results)
        self.directory.end("finished", self.trainer.step)
        places = {"run": as_typed(self.path), **figures}
        commands = [f"ebm sample checkpoint={as_typed(self.path)}", f"tensorboard --logdir {as_typed(self.path)}"]
        notes = [*meanings(results), *measured.notes, *(f"{key}: {why}" for key, why in measured.absent.items())]
        if math.isinf(self.best):
            notes.append(f"best.pt is the last checkpoint: nothing was measured that monitor={self.cfg.monitor} names")
        self.console.print(closing_panel(self._title(), results, places, commands, notes))
        return value

    def _figures(self, samples: torch.Tensor, results: Results) -> dict[str, str]:
        folder = self.path / "figures"
        folder.mkdir(exist_ok=True)
        energy, dataset, log_z = self.parts.energy, self.parts.dataset, results.get("eval/log_z")
        figure = plots.final_figure(energy, dataset, samples, log_z, results)
        self.board.image("final", plots.save(figure, folder / "final.png"), self.trainer.step)
        return {"picture": as_typed(folder / "final.png")}

    def _cost(self) -> Results:
        """Evaluations are per data row: a mean over the steps."""
        steps = max(1, self.trainer.step)
        costs = {f"cost/{name}_evals": count / steps for name, count in self.trainer.evaluations._asdict().items()}
        return {**costs, "cost/seconds": self.seconds, "cost/peak_memory_mb": peak_memory_mb(self.device)}

    def _title(self) -> str:
        choices = HydraConfig.get().runtime.choices
        return (
            f"{choices.get('method')} on {choices.get('dataset')}: {self.trainer.step:,} steps in {self.seconds:.0f} s"
        )


def stored_form(cfg: DictConfig) -> dict[str, Any]:
    """The config as it is stored: plain, resolved, without the way by which this command came to it."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()} | {"checkpoint": None}


def set_deterministic(cfg: DictConfig) -> None:
    """Refuse operations that are not reproducible, where asked to."""
    torch.use_deterministic_algorithms(bool(cfg.deterministic))


def monitored(monitor: str, values: Results) -> str | None:
    """The key of the result that judges a run; None where it was not measured."""
    names = MONITORS if monitor == "auto" else (monitor,)
    return next((name for name in names if isinstance(values.get(name), float)), None)


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
