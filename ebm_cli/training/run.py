"""One attempt at a run: start or resume it, train it to its end, and record in status.json how the attempt ended."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ebm_cli.errors import NoRoom, ProcessLost, full_disk
from ebm_cli.reporting.commands import print_commands, shell_command
from ebm_cli.reporting.console import relative_path
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.assemble import boundary_warning, described_data
from ebm_cli.runs.data_file import require_same_file
from ebm_cli.runs.directory import RunDirectory
from ebm_cli.runs.reserve import config_hash, total_steps
from ebm_cli.runs.signals import Interrupted, Signals
from ebm_cli.training.build import make_session
from ebm_cli.training.divided import was_divided
from ebm_cli.training.finish import finish
from ebm_cli.training.guard import Diverged
from ebm_cli.training.launched import how_to_continue, with_number_of_ranks
from ebm_cli.training.processes import ranks_of
from ebm_cli.training.session import Session
from ebm_cli.training.steps import Steps

logger = logging.getLogger(__name__)


def run_training(
    cfg: DictConfig,
    directory: RunDirectory,
    signals: Signals,
    choices: Mapping[str, str],
    typed: Sequence[str],
    console: Console,
) -> Steps[float | None]:
    """Train the run in a directory, from its last checkpoint if it has one; returns the monitored value of its result.

    Args:
        cfg, directory: a training config, validated, and the run's directory, locked.
        signals: that end the run after its current step.
        choices, typed: group → option, and overrides, for TensorBoard's page of settings.
        console: the terminal, or one that is quiet.

    Raises:
        Diverged, Interrupted: training diverged, and no rollback is left; by a signal.
        NoRoom: the disk is full.
        ProcessLost: one of the run's processes died.
        UserError: a checkpoint that is damaged or does not fit the config.
    """
    file = _resume_file(cfg, path := directory.path)
    # Read before the directory is written to: a damaged checkpoint changes nothing.
    state = None if file is None else checkpoints.read(file)
    if state is not None:
        require_same_file(cfg, state)
    session: Session | None = None
    try:
        directory.begin(total_steps(cfg), config_hash(cfg))
        resolved = with_number_of_ranks(_with_resolved_auto(cfg, state))
        with ranks_of(resolved, path) as ranks:
            session = make_session(resolved, directory, ranks.announce(state), console, ranks)
            with session.log.open():
                if file is not None and state is not None:
                    session.log.note(f"resumed from step {session.trainer.step:,} ({file.name})")
                    _remark_changes(session, state)
                for sentence in described_data(session.parts.dataset, session.protocol):
                    session.log.note(sentence)
                if state is None:
                    _describe(session, choices, typed)
                return (yield from _train_and_finish(session, signals))
    except Diverged as error:
        directory.finish("diverged", error.step, str(error))
        raise
    except KeyboardInterrupt as error:
        # A run that was interrupted while its figures were drawn is finished.
        if not directory.is_finished:
            directory.finish("interrupted", session.trainer.step if session else None, str(error))
            if session is not None and _last_checkpoint(path).is_file():
                command = shell_command("train", {"checkpoint": relative_path(path)})
                print_commands(session.log.console, [command])
        raise
    except BaseException as error:
        if directory.is_finished:
            raise
        explained = _record_failure(error, directory, session)
        if explained is not None:
            raise explained from error
        raise


def _train_and_finish(session: Session, signals: Signals) -> Steps[float | None]:
    """Train and evaluate.

    Raises:
        Interrupted: by a signal; where the run is trained already, with how it gets its evaluation.
    """
    seconds = yield from session.train(signals)
    try:
        return (yield from finish(session, seconds))
    except Interrupted as error:
        if session.directory.is_finished:
            raise
        command = shell_command("train", {"checkpoint": relative_path(session.directory.path)})
        trained = f"training is finished (step {session.trainer.step}, a checkpoint was written)"
        raise Interrupted(
            error.number, f" in the final evaluation; {trained}, and {command} makes the evaluation"
        ) from error


def _record_failure(error: BaseException, directory: RunDirectory, session: Session | None) -> Exception | None:
    """Record a failure in status.json; the error that says how the run is continued, None where nothing is known."""
    full, path = full_disk(error), directory.path
    reason = f"{type(error).__name__}: {error}" if full is None else f"no room to write in it ({full.strerror})"
    directory.finish("failed", session.trainer.step if session else None, reason)
    if full is not None:
        return NoRoom(f"{path}: {reason}; free some space and rerun the command: it resumes from the last checkpoint")
    advice = how_to_continue(path)
    return ProcessLost(f"{error}{advice}") if isinstance(error, ProcessLost) and advice else None


def _describe(session: Session, choices: Mapping[str, str], typed: Sequence[str]) -> None:
    """Log the settings of a new run, what its data would break, and whether its objective holds for them."""
    session.log.describe(session.checkpointer.config, choices, typed)
    parts, keys = session.parts, session.keys
    size = sum(parameter.numel() for parameter in parts.energy.parameters())
    chosen = ", ".join(
        f"{group} {option}" for group, option in choices.items() if group in ("method", "dataset", "energy")
    )
    shape = " x ".join(map(str, parts.dataset.shape))
    logger.info(
        f"{chosen}; rows of shape {shape}, {size:,} parameters, {keys.steps:,} steps of "
        f"{_rows(session)}, seed {keys.seed}, device {session.checkpointer.config['device']}"
    )
    for remark in session.log.opening.remarks:
        session.log.remark(remark)
    for finding in session.log.opening.findings:
        session.log.remark(f"data: {finding}")
    methods = [parts.method, *([] if parts.polish is None else [parts.polish.method])]
    for warning in (boundary_warning(parts), *(method.remark(parts.energy) for method in methods)):
        if warning is not None:
            session.log.remark(warning)


def _rows(session: Session) -> str:
    """The rows of a step, in words."""
    n, ranks = session.trainer.batches.batch_size, session.trainer.ranks
    return f"{n} rows" if ranks.size == 1 else f"{n} rows on each of {ranks.size} processes"


def _remark_changes(session: Session, state: Mapping[str, Any]) -> None:
    """Say what a resumed run loses by what has changed around it."""
    _remark_other_ranks(session, state)
    _remark_other_device(session, state)


def _remark_other_ranks(session: Session, state: Mapping[str, Any]) -> None:
    """Say what a run loses that is resumed on another number of processes than its checkpoint was written by."""
    before, now = was_divided(state), session.trainer.ranks.size
    if before != now:
        session.log.remark(
            f"resumed on {now} process{'es' if now > 1 else ''}, before on {before}: weights, optimizer, chains and "
            "the place in an epoch are those of the checkpoint; random numbers from here on are others, so that the "
            "run is not the one that it would have been"
        )


def _remark_other_device(session: Session, state: Mapping[str, Any]) -> None:
    """Say what a run loses that is resumed on another kind of device."""
    before, now = state["config"].get("device"), session.checkpointer.config["device"]
    if before not in (None, "auto", now):
        session.log.remark(
            f"resumed on {now}, before on {before}: weights, optimizer and chains are those of the checkpoint; random "
            "numbers and rounding from here on are others, so that the run is not the one that it would have been"
        )


def _resume_file(cfg: DictConfig, path: Path) -> Path | None:
    """Checkpoint file that the run continues from; None for a new run."""
    if cfg.checkpoint is not None:
        return checkpoints.locate(cfg.checkpoint, "last")
    last = _last_checkpoint(path)
    return last if last.is_file() else None


def _last_checkpoint(path: Path) -> Path:
    """Checkpoint of a run directory from which the run continues."""
    return path / checkpoints.FOLDER / "last.pt"


def _with_resolved_auto(cfg: DictConfig, state: dict[str, Any] | None) -> DictConfig:
    """The config with `auto` keys as they were resolved when the run began, so that a resumed run computes alike."""
    if state is None or cfg.checkpoint is not None:
        return cfg
    stored = state["config"]
    resolved = {key: stored[key] for key in ("device", "threads", "compile") if cfg[key] == "auto" and key in stored}
    return cast(DictConfig, OmegaConf.merge(cfg, resolved))
