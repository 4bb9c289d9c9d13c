"""Grid sweeps: the jobs of Hydra's own sweeper are all known, and composed, before the first one starts."""

from collections.abc import Iterator

from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, open_dict

from ebm_cli.cli import hydra_internals


def is_grid(hydra: DictConfig | HydraConf) -> bool:
    """Return whether the configured sweeper is Hydra's own, which runs every combination of the values."""
    return str(hydra.sweeper._target_).endswith(".BasicSweeper")


def is_listed(hydra: DictConfig | HydraConf) -> bool:
    """Return whether all jobs are known before the first one starts; other sweepers choose one after the other."""
    return is_grid(hydra) and hydra_internals.split_arguments is not None


def compose_jobs(config: DictConfig) -> Iterator[DictConfig]:
    """Compose the config of each job of a listed sweep, in order.

    Args:
        config: of the sweep, with its node `hydra`.
    """
    swept = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    loader = GlobalHydra.instance().config_loader()
    for number, overrides in enumerate(hydra_internals.grid_jobs([*swept, *config.hydra.overrides.task])):
        job = loader.load_sweep_config(config, overrides)
        with open_dict(job):
            job.hydra.job.num = number
        yield job
