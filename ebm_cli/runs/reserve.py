"""Reservation of a run directory: refuse one that holds another config's run, resume an unfinished one."""

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ebm_cli.errors import UserError
from ebm_cli.runs.directory import RunDirectory, read_status
from ebm_cli.runs.stored_config import run_dir, stored_form

NOT_THE_RUN = ("checkpoint", "trust", "resume", "device", "threads", "precision", "compile", "claims")
"""Keys that say how a command reaches a run, where it runs and what is expected of it, not what the run is."""

_reserved: dict[Path, RunDirectory] = {}
"""Directories that are locked for runs which have not begun: Hydra writes to a directory before its run begins."""


class AlreadyFinished(Exception):
    """The run in this directory is complete: reported and left alone."""

    exit_code = 0


def reserve(cfg: DictConfig, path: Path, *, lock: bool) -> None:
    """Refuse a directory that another config or another process has; say so where its run is finished.

    Args:
        cfg: the run's config.
        path: its directory, which may not exist yet.
        lock: whether to make the directory and keep others out of it; False for the jobs of a sweep, which look again
            when they start.
    """
    own = None if cfg.checkpoint is None else run_dir(cfg.checkpoint)
    if own is not None and own.resolve() != path.resolve():
        raise UserError(f"checkpoint={cfg.checkpoint}: a run is continued in its own directory, not in {path}")
    status = read_status(path)
    if status is not None and cfg.checkpoint is None:
        if cfg.resume == "never":
            raise UserError(
                f"hydra.run.dir={path}: holds a run already; resume=auto continues it, another directory starts anew"
            )
        if status.get("config_hash") != config_hash(cfg):
            raise UserError(
                f"hydra.run.dir={path}: holds a run of another config; continue that one with checkpoint={path}, "
                "or name another directory"
            )
    if lock:
        path.mkdir(parents=True, exist_ok=True)
        earlier = _reserved.pop(path.resolve(), None)
        if earlier is not None:
            # Reserved in this process for a run that did not begin.
            earlier.close()
        directory = RunDirectory(path)
        if status is not None and is_finished(cfg, status):
            directory.close()
            raise AlreadyFinished(f"{path}: finished at step {status['step']}, nothing to do{_more(cfg, status)}")
        _reserved[path.resolve()] = directory


def take_reserved(path: Path) -> RunDirectory:
    """The locked directory of a run that begins: as it was reserved, or locked now."""
    return _reserved.pop(path.resolve(), None) or RunDirectory(path)


def config_hash(cfg: DictConfig) -> str:
    """Identity of what a run is."""
    kept = {key: value for key, value in stored_form(cfg).items() if key not in NOT_THE_RUN}
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=8).hexdigest()


def is_finished(cfg: DictConfig, status: dict[str, Any]) -> bool:
    """Whether there is nothing to do: a run that ended by the clock goes on only where it is named by `checkpoint`."""
    ended = cfg.checkpoint is None or status["step"] >= cfg.steps or _stopped_early(cfg, status)
    return status.get("state") == "finished" and ended


def _stopped_early(cfg: DictConfig, status: dict[str, Any]) -> bool:
    """Whether the run has waited for as long as the patience that is asked for now."""
    return cfg.patience is not None and status.get("waited", 0) >= cfg.patience


def _more(cfg: DictConfig, status: dict[str, Any]) -> str:
    """What would train a finished run further, where one was named to be trained further."""
    if cfg.checkpoint is None:
        return ""
    if _stopped_early(cfg, status):
        waited = status["waited"]
        return f"; its last evaluations ({waited}) improved nothing: patience=null, or N > {waited}, trains it further"
    return f"; steps=N with N > {status['step']} trains it further"
