"""Output directories, before Hydra makes them: what would fail there is refused, and no two commands share one."""

import copy
import itertools
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra.core.utils import configure_log
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from ebm_cli.errors import UserError, first_line


def validate_launch(config: DictConfig) -> None:
    """Refuse a node `hydra` that would fail after the run's directory is made and before the run starts in it.

    Raises:
        UserError: a value cannot be resolved, a node lacks its `_target_`, or logging cannot be set up.
    """
    try:
        for node in (config.hydra.run, config.hydra.job.env_set):
            OmegaConf.to_container(node, resolve=True)
        str(config.hydra.job.name)  # in the names of files that Hydra opens in the directory
        for name in ("launcher", "sweeper"):
            if not isinstance(config.hydra[name], DictConfig) or "_target_" not in config.hydra[name]:
                raise UserError(f"hydra.{name} must be a mapping with _target_")
        logging = copy.deepcopy(config.hydra.job_logging)
        with open_dict(logging):
            for handler in (logging.get("handlers") or {}).values():
                if isinstance(handler, DictConfig) and "filename" in handler:
                    _validate_log_file(handler)
        configure_log(logging, config.hydra.verbose)
    except UserError:
        raise
    except OmegaConfBaseException as error:
        raise UserError(f"hydra: {first_line(error)}") from error
    except Exception as error:  # logging raises many kinds
        raise UserError(f"hydra: the logging cannot be set up: {first_line(error.__cause__ or error)}") from error


def _validate_log_file(handler: DictConfig) -> None:
    """Refuse a file that a logging handler could not open, and delay its opening."""
    handler.delay = True
    try:
        name = handler.filename
    except InterpolationToMissingValueError:  # in the run's directory, which does not exist yet
        name = handler.filename = os.devnull
    if isinstance(name, str) and (Path(name).is_dir() or not Path(name).absolute().parent.is_dir()):
        raise FileNotFoundError(f"no file can be made at {name}")
    given: dict[str, Any] = {key: handler[key] for key in ("encoding", "errors") if key in handler}
    with TemporaryDirectory() as elsewhere:  # only opening a file shows a wrong mode or encoding
        Path(elsewhere, "log").open(handler.get("mode", "a"), **given).close()


def is_timestamped(config: DictConfig, key: str) -> bool:
    """Return whether the clock names a directory, and neither the user nor a run that is resumed in it.

    Args:
        config: composed, not resolved.
        key: hydra.run.dir or hydra.sweep.dir.
    """
    section, _, name = key.rpartition(".")
    raw = OmegaConf.to_container(OmegaConf.select(config, section), resolve=False)
    pattern = str(raw.get(name)) if isinstance(raw, dict) else ""
    return "${now:" in pattern and ("ebm_run_dir" not in pattern or config.get("checkpoint") is None)


def make_exclusive(config: DictConfig, key: str) -> None:
    """Make a timestamped directory; append a number to its name if another command has it already.

    Args:
        config: composed; it is updated with another name, also for the jobs of a sweep, which are composed from its
            overrides.
        key: hydra.run.dir or hydra.sweep.dir.
    """
    wanted = path = Path(OmegaConf.select(config, key))
    for number in itertools.count(2):
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            if not path.exists():  # a broken link, here or above
                raise
            path = wanted.with_name(f"{wanted.name}-{number}")
    if path != wanted:
        with read_write(config), open_dict(config):
            OmegaConf.update(config, key, str(path))
            config.hydra.overrides.hydra.append(f"{key}={path}")


def require_no_outside_links(directory: Path) -> None:
    """Refuse to write into a run's directory that has links out of it, because a run may be untrusted input.

    Args:
        directory: a run's, or one inside it. Any other directory passes.

    Raises:
        UserError: a symbolic link leads out of the run's directory.
    """
    run = next((path for path in (directory, *directory.parents) if (path / "status.json").exists()), None)
    if run is None:
        return
    paths = run.rglob("*") if run == directory else (path for path in directory.parents if run in path.parents)
    for path in paths:
        if path.is_symlink() and not path.resolve().is_relative_to(run.resolve()):
            raise UserError(f"{path}: a link out of the run's directory; remove it to write there")


def require_no_interpolation(directory: Path, key: str = "hydra.run.dir") -> None:
    """Refuse a name that Hydra, which writes it into its own config, would read as the value of a key.

    Args:
        directory: absolute.
        key: that names another one.

    Raises:
        UserError: the name contains `${`.
    """
    if "${" in str(directory):
        raise UserError(
            f"{directory}: Hydra cannot use a directory whose name contains ${{; name another one with {key}=DIR"
        )


def job_dir(config: DictConfig) -> Path:
    """Directory of a job of a sweep, absolute."""
    return Path(config.hydra.sweep.dir, str(config.hydra.sweep.subdir)).absolute()


def run_directory(config: DictConfig) -> Path | None:
    """Directory of a run or of a job of a sweep, absolute; None if its name cannot be resolved."""
    try:
        return job_dir(config) if config.hydra.mode is RunMode.MULTIRUN else Path(config.hydra.run.dir).absolute()
    except (OmegaConfBaseException, TypeError, ValueError):
        return None
