"""The model that `ebm evaluate` measures, loaded in the same way in each of the processes that take part."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from ebm_cli.acceleration.compile_mode import CompileMode, Work, apply_compile_mode
from ebm_cli.acceleration.native_code import covers
from ebm_cli.config.trust import trust_of
from ebm_cli.errors import UserError
from ebm_cli.evaluation import suite
from ebm_cli.evaluation.protocol import Protocol
from ebm_cli.runs.assemble import protocol_of
from ebm_cli.runs.instantiate import Parts
from ebm_cli.runs.model import Model, load
from ebm_cli.runs.signals import Signals
from ebm_cli.system.device import device_of
from ebm_cli.system.precision import use_full_precision
from ebm_cli.system.ranks import Ranks
from ebm_cli.system.threads import set_threads
from ebm_cli.training.build import chains_of


class Subject(NamedTuple):
    """A trained model to be measured, the parts of its run, and the protocol."""

    model: Model
    parts: Parts
    protocol: Protocol


def subject_of(cfg: DictConfig, say: Callable[[str], None] | None = None) -> Subject:
    """Load what a config of `ebm evaluate` names, and choose threads and compile mode.

    Args:
        cfg: validated.
        say: is given a line where the compile mode is worth one; None to choose none yet.

    Raises:
        UserError: an unusable checkpoint, or missing data.
    """
    use_full_precision()
    set_threads(cfg.threads)
    model = load(cfg.checkpoint, cfg.which, cfg.weights, list(cfg.trust), device_of(cfg.device).type)
    model = model.with_data_file(cfg.dataset.path).to_dtype(cfg.dtype)
    threads = set_threads(cfg.threads, model.energy)
    parts, protocol = model.parts(), _protocol(cfg, model)
    if say is not None:
        work = Work(0, cfg.eval.n_chains, 0, (chains_of(protocol),))
        apply_compile_mode(_compile_mode(cfg, model, protocol), parts.energy, work, threads, say)
    return Subject(model, parts, protocol)


def assist(cfg: DictConfig, run: Path, ranks: Ranks, signals: Signals) -> None:
    """Do this process's part of `ebm evaluate`, in a process that is not the first; as `training.rank.follow`."""
    model, parts, protocol = subject_of(cfg, lambda line: None)
    require_same_step(model, ranks)
    suite.serve(parts.energy, parts.method, parts.dataset, protocol, ranks)


def require_same_step(model: Model, ranks: Ranks) -> None:
    """Require that all processes have read the same checkpoint, which a run that trains may replace.

    Raises:
        UserError: they have not.
    """
    if len(set(ranks.collect(model.step))) > 1:
        raise UserError(
            f"checkpoint={model.path}: another one has taken its place meanwhile, because the run is training; name a "
            "numbered checkpoint"
        )


def _compile_mode(cfg: DictConfig, model: Model, protocol: Protocol) -> CompileMode:
    """The requested mode; `auto` repeats native chains of the run, so that its results are found again."""
    is_native = model.config.get("compile") == "native" and covers(protocol.kernel, model.energy)
    mode: CompileMode = "native" if cfg.compile == "auto" and is_native else cfg.compile
    return mode


def _protocol(cfg: DictConfig, model: Model) -> Protocol:
    """The evaluation protocol of the config, by default with the seed of the run, and with its chains that follow."""
    seed = model.config.seed if cfg.seed is None else cfg.seed
    protocol = protocol_of(cfg, seed, model.config.batch_size, trust_of(cfg))
    return replace(protocol, fallback=model.config.eval.fallback) if protocol.fallback == "auto" else protocol
