"""Launchers and sweepers of Hydra: which package has which, so that a missing one is named with its pip command."""

import shutil
from collections.abc import Iterable
from importlib.util import find_spec

from omegaconf import DictConfig

from ebm_cli.errors import UserError, did_you_mean

GROUP = "hydra/launcher"
PACKAGES = {
    GROUP: {
        "slurm": "'ebm-cli[slurm]'",
        "joblib": "'ebm-cli[sweep]'",
        "submitit_slurm": "'ebm-cli[slurm]'",
        "submitit_local": "'ebm-cli[slurm]'",
        "ray": "hydra-ray-launcher",
        "ray_aws": "hydra-ray-launcher",
        "rq": "hydra-rq-launcher",
    },
    "hydra/sweeper": {
        "optuna": "'ebm-cli[optuna]'",
        "ax": "hydra-ax-sweeper",
        "nevergrad": "hydra-nevergrad-sweeper",
    },
}
"""Group of Hydra → option → what pip installs for it: an extra of ours where there is one."""


def explain_missing_plugin(group: str, option: str, installed: Iterable[str]) -> str:
    """Explain what to do about an option of one of Hydra's own groups that does not exist here.

    Args:
        group: hydra/launcher, hydra/sweeper, hydra/job_logging, …
        option: as it was typed.
        installed: options that exist.
    """
    packages = PACKAGES.get(group, {})
    if option in packages:
        return f"{group}={option}: not installed; install it with: pip install {packages[option]}"
    known = sorted({*installed, *packages})
    listed = f" ({', '.join(known)})" if known else ""
    return f"{group}={option}: no such option{did_you_mean(option, known)}{listed}"


def is_processes(config: DictConfig) -> bool:
    """Return whether `jobs=` chose the launcher of processes."""
    return str(config.hydra.launcher._target_).endswith(".ProcessesLauncher")


def is_search(config: DictConfig) -> bool:
    """Return whether the sweeper is the search with Optuna."""
    return str(config.hydra.sweeper._target_).endswith("ebm_sweeps.search.OptunaSweeper")


def require_optuna(config: DictConfig) -> None:
    """Refuse a search where Optuna is not installed, or where something else than `jobs=` would run its trials.

    Raises:
        UserError: see above.
    """
    if not is_search(config):
        return
    if find_spec("optuna") is None:
        raise UserError(explain_missing_plugin("hydra/sweeper", "optuna", ()))
    launcher = str(config.hydra.launcher._target_).rpartition(".")[2]
    if launcher not in ("ProcessesLauncher", "BasicLauncher"):
        raise UserError(
            "hydra/sweeper=optuna runs its trials by jobs=N; to search on several machines, type the same command on "
            "each with one hydra.sweeper.storage"
        )


def require_slurm(config: DictConfig) -> None:
    """Refuse the launcher of Slurm without its package or without a Slurm, before the directory of the sweep is made.

    Raises:
        UserError: submitit is not installed, or there is no `sbatch`.
    """
    if not str(config.hydra.launcher._target_).endswith(".SlurmLauncher"):
        return
    if find_spec("submitit") is None or find_spec("hydra_plugins.hydra_submitit_launcher") is None:
        raise UserError(f"hydra/launcher=slurm: not installed; install it with: pip install {PACKAGES[GROUP]['slurm']}")
    if shutil.which("sbatch") is None:
        raise UserError(
            "hydra/launcher=slurm: this machine has no Slurm (no sbatch); jobs=auto runs the jobs here, and "
            "hydra/launcher=submitit_local as a queue would"
        )
