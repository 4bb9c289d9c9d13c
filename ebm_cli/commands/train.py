"""`ebm train`: the one loop that trains every method, writes what it sees, and never loses what it has."""

import json
import logging
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ebm_cli.claims.judge import build_claims, judge_runs
from ebm_cli.config.trust import trust_of
from ebm_cli.errors import NoRoom, full_disk
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.assemble import assemble, protocol_of
from ebm_cli.runs.directory import RunDirectory, read_status
from ebm_cli.runs.record import jobs_of
from ebm_cli.runs.reserve import config_hash, is_finished, reserve, reserved
from ebm_cli.runs.signals import Signals
from ebm_cli.system.device import set_deterministic, set_threads
from ebm_cli.training.build import make_trainer
from ebm_cli.training.guard import Diverged
from ebm_cli.training.monitor import monitored
from ebm_cli.training.session import Session

log = logging.getLogger(__name__)


def validate(cfg: DictConfig) -> None:
    """Refuse a config whose parts do not fit together; makes nothing."""
    set_deterministic(cfg.deterministic)
    set_threads(cfg.threads)
    build_claims(cfg.claims, trust_of(cfg))
    parts = assemble(cfg, trust_of(cfg))
    make_trainer(cfg, parts, trust_of(cfg))
    protocol_of(cfg, cfg.seed, cfg.batch_size, trust_of(cfg)).check(parts.dataset)


def train(cfg: DictConfig) -> float | None:
    """Train one model and judge what its experiment claims; returns its main result, which a sweeper may minimise."""
    path = Path(HydraConfig.get().runtime.output_dir)
    value = _train(cfg, path)
    if HydraConfig.get().mode is not RunMode.MULTIRUN:
        judge_runs(build_claims(cfg.claims, trust_of(cfg)), path, [path])
    return value


def finalize(cfg: DictConfig, sweep_dir: Path) -> None:
    """Judge what an experiment claims, on all jobs of its sweep."""
    judge_runs(build_claims(cfg.claims, trust_of(cfg)), sweep_dir, jobs_of(sweep_dir))


def _train(cfg: DictConfig, path: Path) -> float | None:
    # The directory is let go first: a launcher that puts the job back into its queue may start it at once.
    with Signals() as signals, reserved.pop(path.resolve(), None) or RunDirectory(path) as directory:
        reserve(cfg, path, lock=False)
        status = read_status(path)
        if status is not None and is_finished(cfg, status):
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
