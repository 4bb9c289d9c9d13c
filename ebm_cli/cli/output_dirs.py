"""Where Hydra is going to start a run: what it would stumble over is refused, and the directory is made alone."""

import copy
import itertools
import os
from pathlib import Path

from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from ebm_cli.errors import UserError


def check_launch(config: DictConfig) -> None:
    """Refuse what Hydra would stumble over between making the run's directory and starting the run in it."""
    try:
        for node in (config.hydra.run, config.hydra.job.env_set):
            OmegaConf.to_container(node, resolve=True)
        for name in ("launcher", "sweeper"):
            if not isinstance(config.hydra[name], DictConfig) or "_target_" not in config.hydra[name]:
                raise UserError(f"hydra.{name} must be a mapping with _target_")
        logging = copy.deepcopy(config.hydra.job_logging)
        with open_dict(logging):
            for handler in (logging.get("handlers") or {}).values():
                if isinstance(handler, DictConfig) and "filename" in handler:
                    _check_log_file(handler)
        configure_log(logging, config.hydra.verbose)
    except UserError:
        raise
    except Exception as error:  # whatever logging happens to stumble over
        known = isinstance(error, OmegaConfBaseException)
        why = str(error) if known else f"the logging cannot be set up: {error.__cause__ or error}"
        raise UserError(f"hydra: {(why.splitlines() or [''])[0]}") from error


def by_the_clock(config: DictConfig, key: str) -> bool:
    """Whether the time names a directory, and not the user, nor the run that is continued in it."""
    section, _, name = key.rpartition(".")
    raw = OmegaConf.to_container(OmegaConf.select(config, section), resolve=False)
    named = str(raw.get(name)) if isinstance(raw, dict) else ""
    return "${now:" in named and ("ebm_run_dir" not in named or config.get("checkpoint") is None)


def make_alone(config: DictConfig, key: str) -> None:
    """Make the directory that the clock names; under another name where that is another command's already.

    Args:
        config: composed; told the other name, also for the jobs of a sweep, which are composed from its overrides.
        key: hydra.run.dir or hydra.sweep.dir.
    """
    wanted = path = Path(OmegaConf.select(config, key))
    for number in itertools.count(2):
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            path = wanted.with_name(f"{wanted.name}-{number}")
    if path != wanted:
        with read_write(config), open_dict(config):
            OmegaConf.update(config, key, str(path))
            config.hydra.overrides.hydra.append(f"{key}={path}")


def _check_log_file(handler: DictConfig) -> None:
    """Refuse a file that a logging handler could not open, and have this handler open none."""
    handler.delay = True
    try:
        name = handler.filename
    except InterpolationToMissingValueError:  # in the run's directory, which is not there yet
        name = handler.filename = os.devnull
    if isinstance(name, str) and (Path(name).is_dir() or not Path(name).absolute().parent.is_dir()):
        raise FileNotFoundError(f"no file can be made at {name}")


def check_links(directory: Path) -> None:
    """Refuse a run's directory, or one in it, from which links lead away what is written: the run may be anybody's."""
    run = next((path for path in (directory, *directory.parents) if (path / "status.json").exists()), None)
    if run is None:
        return
    paths = run.rglob("*") if run == directory else (path for path in directory.parents if run in path.parents)
    for path in paths:
        if path.is_symlink() and not path.resolve().is_relative_to(run.resolve()):
            raise UserError(f"{path}: a link that leads out of the run's directory, so nothing is written there")


def is_grid(config: DictConfig) -> bool:
    """Whether all jobs of a sweep are known before the first begins."""
    return str(config.hydra.sweeper._target_).endswith(".BasicSweeper")


def job_dir(config: DictConfig) -> Path:
    """The directory of a job of a sweep."""
    return Path(config.hydra.sweep.dir, str(config.hydra.sweep.subdir)).absolute()
