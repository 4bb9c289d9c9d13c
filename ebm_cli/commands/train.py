"""`ebm train`: the one loop that trains every method, writes what it sees, and never loses what it has."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ebm_cli.config import trust_of
from ebm_cli.errors import NoRoom, UserError, full_disk
from ebm_cli.experiment import assemble, make_trainer, set_threads
from ebm_cli.judging import build_claims, jobs_of
from ebm_cli.judging import judge as judge_runs
from ebm_cli.measuring import protocol_of
from ebm_cli.session import Session, set_deterministic, stored_form
from ebm_cli.stored import run_dir
from ebm_cli.training import checkpoint as checkpoints
from ebm_cli.training.guard import Diverged
from ebm_cli.training.rundir import RunDirectory, Signals, read_status
from ebm_cli.watching import monitored

log = logging.getLogger(__name__)

NOT_THE_RUN = ("checkpoint", "trust", "resume", "device", "threads", "precision", "compile", "claims")
"""Keys that say how a command reaches a run, where it runs and what is expected of it, not what the run is."""


_taken: dict[Path, RunDirectory] = {}
"""The directory that `claim` has locked for the run which then begins: Hydra writes to it in between."""


class AlreadyFinished(Exception):
    """The run in this directory is complete: reported and left alone."""

    exit_code = 0


def check(cfg: DictConfig) -> None:
    """Refuse a config whose parts do not fit together; makes nothing."""
    set_deterministic(cfg)
    set_threads(cfg.threads)
    build_claims(cfg.claims, trust_of(cfg))
    parts = assemble(cfg, trust_of(cfg))
    make_trainer(cfg, parts, trust_of(cfg))
    protocol_of(cfg, cfg.seed, cfg.batch_size, trust_of(cfg)).check(parts.dataset)


def claim(cfg: DictConfig, path: Path, *, lock: bool) -> None:
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
        if path.resolve() in _taken:
            # For a run of this process that did not come to begin.
            _taken.pop(path.resolve()).close()
        directory = RunDirectory(path)
        if status is not None and _is_finished(cfg, status):
            directory.close()
            raise AlreadyFinished(f"{path}: finished at step {status['step']}, nothing to do{_more(cfg, status)}")
        _taken[path.resolve()] = directory


def train(cfg: DictConfig) -> float | None:
    """Train one model and judge what its experiment claims; returns its main result, which a sweeper may minimise."""
    path = Path(HydraConfig.get().runtime.output_dir)
    value = _train(cfg, path)
    if HydraConfig.get().mode is not RunMode.MULTIRUN:
        judge_runs(build_claims(cfg.claims, trust_of(cfg)), path, [path])
    return value


def judge(cfg: DictConfig, sweep_dir: Path) -> None:
    """Judge what an experiment claims, on all jobs of its sweep."""
    judge_runs(build_claims(cfg.claims, trust_of(cfg)), sweep_dir, jobs_of(sweep_dir))


def _train(cfg: DictConfig, path: Path) -> float | None:
    # The directory is let go first: a launcher that puts the job back into its queue may start it at once.
    with Signals() as signals, _taken.pop(path.resolve(), None) or RunDirectory(path) as directory:
        claim(cfg, path, lock=False)
        status = read_status(path)
        if status is not None and _is_finished(cfg, status):
            print(f"{path}: finished at step {status['step']}, left alone")
            return _stored_result(path, cfg.monitor)
        file = _resume_from(cfg, path)
        # Read before the directory is touched: a damaged checkpoint changes nothing.
        state = None if file is None else checkpoints.read(file)
        session: Session | None = None
        try:
            directory.begin(cfg.steps, config_hash(cfg))
            session = Session(_as_stored(cfg, state), path, directory, state)
            return session.go(signals)
        except Diverged as error:
            directory.end("diverged", error.step, str(error))
            raise
        except KeyboardInterrupt as error:
            directory.end("interrupted", session.trainer.step if session else None, str(error))
            raise
        except BaseException as error:
            full = full_disk(error)
            why = f"{type(error).__name__}: {error}" if full is None else f"no room to write in it ({full.strerror})"
            directory.end("failed", session.trainer.step if session else None, why)
            if full is not None:
                # Not in the log: it would need room, too.
                raise NoRoom(
                    f"{path}: {why}; once there is, the same command goes on from its last checkpoint"
                ) from error
            log.exception("failed")
            raise


def config_hash(cfg: DictConfig) -> str:
    """Identity of what a run is."""
    kept = {key: value for key, value in stored_form(cfg).items() if key not in NOT_THE_RUN}
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=8).hexdigest()


def _is_finished(cfg: DictConfig, status: dict[str, Any]) -> bool:
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


def _resume_from(cfg: DictConfig, path: Path) -> Path | None:
    """The checkpoint file that the run goes on from; None for a new run."""
    if cfg.checkpoint is not None:
        return checkpoints.locate(cfg.checkpoint)
    last = path / checkpoints.FOLDER / "last.pt"
    return last if last.is_file() else None


def _as_stored(cfg: DictConfig, state: dict[str, Any] | None) -> DictConfig:
    """What `auto` resolved to when the run began, it means when the run goes on."""
    if state is None or cfg.checkpoint is not None:
        return cfg
    then = state["config"]
    settled = {key: then[key] for key in ("device", "threads", "compile") if cfg[key] == "auto" and key in then}
    return OmegaConf.merge(cfg, settled)  # type: ignore[return-value]


def _stored_result(path: Path, monitor: str) -> float | None:
    return monitored(monitor, json.loads((path / "results.json").read_text(encoding="utf-8")))
