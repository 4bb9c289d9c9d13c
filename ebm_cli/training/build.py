"""Construction of a run's trainer and session from its config."""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ebm_cli.acceleration.compile_mode import ChainWork, CompileMode, Work, apply_compile_mode
from ebm_cli.config.build import build
from ebm_cli.config.optimizer_numbers import require_finite
from ebm_cli.config.trust import Trust, trust_of
from ebm_cli.datasets.findings import Finding, Labels, Run
from ebm_cli.datasets.report import report
from ebm_cli.datasets.unbounded import unbounded
from ebm_cli.densities.memo import of_few_rows
from ebm_cli.errors import UserError
from ebm_cli.evaluation.model_samples import n_steps
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.rng import generator
from ebm_cli.runs.assemble import assemble, protocol_of
from ebm_cli.runs.directory import RunDirectory
from ebm_cli.runs.instantiate import Parts
from ebm_cli.runs.reserve import total_steps
from ebm_cli.runs.stored_config import drop_filled, stored_form
from ebm_cli.samplers import Langevin
from ebm_cli.system.device import device_of, set_deterministic
from ebm_cli.system.files import write_text
from ebm_cli.system.memory import keep_freed_memory, reset_peak_memory
from ebm_cli.system.precision import use_full_precision
from ebm_cli.system.ranks import ONE, Ranks
from ebm_cli.system.threads import set_threads
from ebm_cli.system.torch_internals import skip_dynamo_import
from ebm_cli.training.checkpointer import Checkpointer
from ebm_cli.training.history import History, Rollbacks
from ebm_cli.training.init_from import start_from
from ebm_cli.training.monitor import Monitor
from ebm_cli.training.polishing import Polishing
from ebm_cli.training.rollback import KEPT
from ebm_cli.training.run_log import Opening, RunLog, SilentLog
from ebm_cli.training.session import LoopKeys, Session
from ebm_cli.training.snapshots import Snapshots
from ebm_cli.training.trainer import Trainer


def make_trainer(cfg: DictConfig, parts: Parts, trust: Trust = None, ranks: Ranks = ONE) -> Trainer:
    """Build the trainer of a new run, for one of the processes that train it.

    Raises:
        UserError: an optimizer, a schedule or parameters that cannot be trained with, or parts that cannot be divided.
    """
    device = device_of(cfg.device)
    skip_dynamo_import()
    require_finite(cfg.optimizer)

    def optimizer(parameters: Iterable[nn.Parameter], lr: float | None) -> Optimizer:
        node = cfg.optimizer if lr is None else OmegaConf.merge(cfg.optimizer, {"lr": lr})
        made: Optimizer = build(node, "optimizer", Optimizer, trust=trust, params=list(parameters))
        return made

    def schedule(of: Optimizer, steps: int, lr: float | None = None) -> LRScheduler:
        # torch's schedules call the run's length and the player's own rate by these names; one more step than the run
        # has, because the schedule also advances after the last one.
        given = {"T_max": steps, "total_steps": steps + 1, "max_lr": of.defaults["lr"] if lr is None else lr}
        made: LRScheduler = build(cfg.schedule, "schedule", LRScheduler, trust=trust, optimizer=of, **given)
        return made

    polish = parts.polish
    polishing = None if polish is None else Polishing(polish, cfg.steps, partial(schedule, lr=polish.lr))
    try:
        batches = parts.dataset.batches(cfg.batch_size, generator(cfg.seed, "data", device))
        batches.divide(ranks, generator(cfg.seed, ranks.stream("data"), device))
        return Trainer(
            parts.energy,
            parts.method,
            batches,
            optimizer,
            partial(schedule, steps=cfg.steps),
            generator(cfg.seed, ranks.stream("method"), device),
            cfg.clip_grad_norm,
            cfg.ema,
            guard_interval=cfg.log_every,
            is_guarded=cfg.guard != "ignore",
            precision=cfg.precision,
            polishing=polishing,
            ranks=ranks,
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def make_session(
    cfg: DictConfig, directory: RunDirectory, state: dict[str, Any] | None, console: Console, ranks: Ranks = ONE
) -> Session:
    """Build everything that a run trains with, and restore it to where the run begins or continues.

    Args:
        cfg: a training config, validated.
        directory: of the run; its config.yaml is written.
        state: of the checkpoint that the run continues from; None for a new run.
        console: the terminal.
        ranks: the processes that train the run; all but the first have an `UnwrittenDirectory`.
    """
    trust = trust_of(cfg)
    device = device_of(cfg.device)
    keep_freed_memory()
    reset_peak_memory(device)
    set_deterministic(cfg.deterministic)
    use_full_precision()
    set_threads(cfg.threads)
    # Densities that energy and method fit to the rows are in the checkpoint that is continued.
    with nullcontext() if state is None else of_few_rows():
        parts = assemble(cfg, trust)
    # A checkpoint that is continued holds all weights: no other run's matter.
    remarks = [*parts.remarks, *start_from(cfg, parts)] if state is None else []
    threads = set_threads(cfg.threads, parts.energy)
    trainer = make_trainer(cfg, parts, trust, ranks)
    protocol = protocol_of(cfg, cfg.seed, cfg.batch_size, trust)
    work = training_work(parts, trainer.batches.batch_size, protocol, total_steps(cfg))
    if cfg.precision != "highest":
        # Native code has no products of less than full precision.
        if cfg.compile == "native" and work.n_values:
            console.print(f"compile=native: chains alone, since training steps have precision={cfg.precision}")
        work = replace(work, n_values=0)
    # A run of a version that stored no mode was in none.
    asked: CompileMode = "never" if state is not None and cfg.compile == "auto" else cfg.compile
    mode = apply_compile_mode(asked, parts.energy, work, threads, console.print, is_resumed=state is not None)
    config = stored_form(cfg) | {"device": device.type, "threads": threads, "compile": mode}
    config = drop_filled(config, directory.path)
    monitor = Monitor(parts, protocol, cfg.monitor)
    snapshots = Snapshots(parts, protocol.kernel, cfg.seed)
    history = History(monitor.key, Rollbacks(None if state is None else state.get("rollbacks")))
    keep = max(cfg.keep, KEPT) if cfg.guard == "rollback" else cfg.keep
    checkpointer = Checkpointer(directory.path, config, trainer, history, parts.dataset, keep)
    if state is None:
        trainer.prepare(parts.dataset.reference)
    else:
        checkpointer.restore(state)
    if ranks.is_first:
        opening = Opening(*examined(cfg, parts), tuple(remarks))
        bar = {"train/loss": "loss", monitor.key: monitor.name}
        log = RunLog(directory.path, console, total_steps(cfg), trainer.step, bar, opening)
        write_text(directory.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))
    else:
        log = SilentLog(directory.path, console, total_steps(cfg), trainer.step, {})
    keys = LoopKeys.of(cfg)
    return Session(keys, parts, trainer, protocol, monitor, snapshots, history, checkpointer, log, directory)


def examined(cfg: DictConfig, parts: Parts) -> tuple[tuple[Finding, ...], str]:
    """The report on the data of a run, and the columns of `datasets.unbounded`."""
    run, dataset = described(cfg, parts), parts.dataset
    findings = report(dataset, run)
    label = Labels(dataset.column_words, "column" if len(dataset.shape) == 1 else "pixel")
    return findings, unbounded(findings, label, run)


def described(cfg: DictConfig, parts: Parts) -> Run:
    """Describe what a run does with its rows, for the report on the data."""
    return Run(
        method=type(parts.method).__name__.lower(),
        matches_scores=parts.method.needs_continuous_density,
        keys=frozenset(f"{group}.{key}" for group in ("dataset", "method") for key in cfg[group]),
        can_whiten="whiten" in cfg.method and not cfg.method.whiten,
        n_weights=sum(p.numel() for p in parts.energy.parameters() if p.requires_grad),
        is_convolutional=any(isinstance(module, nn.Conv2d) for module in parts.energy.modules()),
    )


def training_work(parts: Parts, batch_size: int, protocol: Protocol, steps: int) -> Work:
    """Describe the derivatives that a run takes, which decide whether compiling is worth it.

    Args:
        parts: energy and method.
        batch_size: rows a step.
        protocol: of the evaluation.
        steps: training steps, of both phases.
    """
    method, polish, chains = parts.method, parts.polish, [chains_of(protocol)]
    n_values = method.n_values(batch_size) * (steps - (0 if polish is None else polish.steps))
    if method.kernel is not None:
        chains.append(ChainWork(method.kernel, steps, method.n_chain_steps, batch_size))
    if polish is not None:
        n_values += polish.method.n_values(batch_size) * polish.steps
        kernel, n_steps = polish.method.kernel, polish.method.n_chain_steps
        # A Langevin step with a weight is taken in torch, whatever is built.
        if kernel is not None and not isinstance(kernel, Langevin):
            chains.append(ChainWork(kernel, polish.steps, n_steps, batch_size))
    return Work(steps, batch_size, method.n_directions(parts.energy), tuple(chains), n_values)


def chains_of(protocol: Protocol) -> ChainWork:
    """The chains of an evaluation that end in its samples."""
    return ChainWork(protocol.kernel, 1, n_steps(protocol.n_samples, protocol.n_chains), protocol.n_chains)
