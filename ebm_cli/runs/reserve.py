"""Reservation of a run directory: refuse one that holds another config's run, so that a rerun continues its own.

The lock itself is in `lock`, and is held by a `RunDirectory`; `training.run` then resumes from the last checkpoint.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ebm_cli.config.flat import flatten
from ebm_cli.errors import UserError
from ebm_cli.quoting import typed
from ebm_cli.runs.added_keys import fill
from ebm_cli.runs.directory import RunDirectory
from ebm_cli.runs.status import read_status
from ebm_cli.runs.stored_config import run_dir, stored_form, tolerant_config, with_absolute_paths

NOT_THE_RUN = (
    *("checkpoint", "trust", "resume", "device", "threads", "precision", "compile", "parallel"),
    *("claims", "strict"),
)
"""Keys that do not identify a run: how a command reaches it, where it runs and what is expected of it."""
CHECKPOINTS = ("checkpoint_every", "keep")
"""Keys that identify a run only where it may return to its checkpoints (`guard=rollback`)."""

SHOWN = 3
"""Values of another run's config that are named."""

_reserved: dict[Path, RunDirectory] = {}
"""Directories that are locked for runs which have not begun: Hydra writes to a directory before its run begins."""


class AlreadyFinished(Exception):
    """The run in this directory is finished; there is nothing to do. Exit code 0.

    Args:
        message: for the user.
        path: the directory.
    """

    exit_code = 0

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


def reserve(cfg: DictConfig, path: Path, *, lock: bool, trains: bool = True) -> None:
    """Refuse a directory that holds a run of another config; with `lock`, also one that is in use or finished.

    Args:
        cfg: config of the run.
        path: its directory, which may not exist yet.
        lock: whether to make the directory and lock it for this process; False for the jobs of a sweep, each of which
            locks its directory when it starts.
        trains: see `config_hash`.

    Raises:
        UserError: the directory belongs to another run or another process.
        AlreadyFinished: the run is finished, and `lock` is true.
    """
    own = None if cfg.checkpoint is None else run_dir(cfg.checkpoint)
    if own is not None and own.resolve() != path.resolve():
        raise UserError(f"checkpoint={cfg.checkpoint}: a run is resumed in its own directory, not in {path}")
    status = read_status(path)
    if status is not None and cfg.checkpoint is None:
        if cfg.resume == "never":
            raise UserError(
                f"hydra.run.dir={path}: already holds a run; resume it with resume=auto, or name another directory"
            )
        if not _is_run_of(cfg, path, status, trains):
            raise UserError(
                f"hydra.run.dir={path}: holds a run of another config; resume that one with "
                f"{typed('checkpoint', path)}, or name another directory{_difference(cfg, path)}"
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
            more = _how_to_train_further(cfg, status)
            raise AlreadyFinished(f"{path}: finished at step {status['step']}, nothing to do{more}", path)
        _reserved[path.resolve()] = directory


def take_reserved(path: Path) -> RunDirectory:
    """The locked directory of a run that begins: the reserved one, or one that is locked now."""
    return _reserved.pop(path.resolve(), None) or RunDirectory(path)


def total_steps(cfg: DictConfig) -> int:
    """Training steps of a run: those of its method, and those of the second phase if it has one."""
    polish = cfg.get("polish")
    return int(cfg.steps) + (0 if polish is None else int(polish.steps))


def config_hash(cfg: DictConfig, *, trains: bool = True) -> str:
    """Hash of the keys that identify a run: those that its numbers depend on.

    Args:
        cfg: config of the run.
        trains: whether the run trains a model. Its `measurement` is then made on it, and draws a figure of it, such as
            a table of the sweep that it belongs to; else the measurement is what the run does.
    """
    return _hash(stored_form(cfg), trains=trains)


def is_finished(cfg: DictConfig, status: Mapping[str, Any]) -> bool:
    """True if there is nothing to do. A run that `max_seconds` ended is resumed only if `checkpoint` names it."""
    end = total_steps(cfg) - status.get("skipped", 0)
    ended = cfg.checkpoint is None or status["step"] >= end or _stopped_early(cfg, status)
    return status.get("state") == "finished" and ended


def _hash(config: Mapping[str, Any], *, trains: bool) -> str:
    kept = {key: value for key, value in config.items() if key not in _left_out(config)}
    if trains:
        kept["measurement"] = None
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=8).hexdigest()


def _left_out(config: Mapping[str, Any]) -> set[str]:
    """Keys that do not identify the run of a config."""
    return {*NOT_THE_RUN, *(() if config.get("guard") == "rollback" else CHECKPOINTS)}


def _is_run_of(cfg: DictConfig, path: Path, status: Mapping[str, Any], trains: bool) -> bool:
    """True if a directory holds the run of this config.

    The status holds the hash of the config as it was then, which lacks keys that were added later, counts keys that do
    not count any more, and may name a data file by a relative path: those runs are compared by their stored config,
    filled. A stored measurement of another class may have been made in place of a training.
    """
    own = config_hash(cfg, trains=trains)
    if status.get("config_hash") == own:
        return True
    stored = tolerant_config(path)
    if not stored:
        return False
    as_now = with_absolute_paths(fill(stored))
    measured = as_now.get("measurement")
    is_alike = measured is None or (cfg.measurement is not None and measured["_target_"] == cfg.measurement["_target_"])
    return _hash(as_now, trains=trains and is_alike) == own


def _difference(cfg: DictConfig, path: Path) -> str:
    """The first values in which the run of a directory differs from a config; empty if its config cannot be read."""
    stored, own = tolerant_config(path), dict(flatten(stored_form(cfg)))
    held = dict(flatten(with_absolute_paths(fill(stored)))) if stored else own
    different = [key for key in dict.fromkeys([*held, *own]) if held.get(key) != own.get(key)]
    left_out = {*_left_out(stored), "measurement"}
    keys = [key for key in different if key.partition(".")[0] not in left_out and not key.endswith("_target_")]
    if not keys:
        return ""
    shown = " ".join(typed(key, held[key]) if key in held else f"no {key}" for key in keys[:SHOWN])
    more = f", and {len(keys) - SHOWN} other values" if len(keys) > SHOWN else ""
    return f" (that run has {shown}{more})"


def _stopped_early(cfg: DictConfig, status: Mapping[str, Any]) -> bool:
    """True if the run has waited for as long as the patience that is asked for now."""
    return cfg.patience is not None and status.get("waited", 0) >= cfg.patience


def _how_to_train_further(cfg: DictConfig, status: Mapping[str, Any]) -> str:
    """Instruction for a finished run that `checkpoint` named."""
    if cfg.checkpoint is None:
        return ""
    if _stopped_early(cfg, status):
        waited = status["waited"]
        times = f"{waited} evaluation{'s' if waited > 1 else ''}"
        return f"; stopped early after {times} without improvement: to continue, set patience=null or > {waited}"
    n_polishing = total_steps(cfg) - int(cfg.steps)
    where = " (the further steps come on top of the second phase)" if n_polishing else ""
    return f"; to train it further, set steps > {status['step'] + status.get('skipped', 0) - n_polishing}{where}"
