"""Hydra callbacks: validate a run and reserve its directory before Hydra creates it; conclude a sweep."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from ebm_cli.cli.effective_config import effective_config
from ebm_cli.cli.grid import compose_jobs, is_listed
from ebm_cli.cli.job_log import logged_if_refused
from ebm_cli.cli.output_dirs import (
    is_timestamped,
    job_dir,
    make_exclusive,
    require_no_interpolation,
    require_no_outside_links,
    run_directory,
    validate_launch,
)
from ebm_cli.cli.places import explained_place, require_own_place, require_writable
from ebm_cli.cli.plugins import is_processes, is_search, require_optuna, require_slurm
from ebm_cli.cli.replica_words import is_replicas, require_one_place_for_seeds
from ebm_cli.cli.search_space import EXAMPLE
from ebm_cli.cli.sweep_cores import worker_count
from ebm_cli.cli.sweep_failures import JobFailed, SweepFailed, clear_failures, read_failures
from ebm_cli.cli.task import Task, reraise_past_hydra
from ebm_cli.config.validate import validate
from ebm_cli.errors import UserError


class Validate(Callback):
    """Refuses a wrong run before its directory exists, and all jobs of a sweep before the first one starts.

    Args:
        verb: the verb, whose schema and hooks apply.
    """

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self._failures: list[JobFailed] = []

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Validate the run; reserve its directory."""
        with reraise_past_hydra():
            cfg = self._validate(config)
            validate_launch(config)
            if is_search(config):
                raise UserError(
                    f"hydra/sweeper=optuna: one run searches nothing; add -m and an interval, such as {EXAMPLE}"
                )
            if is_processes(config):
                raise UserError("jobs: one run is one job; add -m and several values (seed=1,2) for a sweep")
            wanted = Path(config.hydra.run.dir).absolute()
            require_no_interpolation(wanted)
            with explained_place(wanted):
                require_no_outside_links(Path(config.hydra.run.dir))
                if self._writes(config):
                    require_own_place(wanted, self.verb)
                if is_timestamped(config, "hydra.run.dir"):
                    # Once before the directory is made: a run that is refused leaves nothing behind.
                    Task(self.verb).hook("reserve", cfg, wanted, lock=False)
                    make_exclusive(config, "hydra.run.dir")
                path = Path(config.hydra.run.dir).absolute()
                Task(self.verb).hook("reserve", cfg, path, lock=True)
                if self._writes(config):
                    require_writable(path)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Validate every job of a sweep, if they are known yet: otherwise, each is validated as it starts."""
        with reraise_past_hydra():
            require_slurm(config)
            require_optuna(config)
            require_one_place_for_seeds(config)
            if is_processes(config) or is_replicas(config):
                worker_count(config.hydra.launcher.jobs)
            if is_listed(config.hydra):
                self._validate_jobs(config)
            with _explained_sweep(config):
                if is_timestamped(config, "hydra.sweep.dir"):
                    make_exclusive(config, "hydra.sweep.dir")
                require_writable(Path(config.hydra.sweep.dir))
                clear_failures(Path(config.hydra.sweep.dir))

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        """Validate a job that was not known before, and keep hold of the failures in this process."""
        if isinstance(task_function, Task):
            self._failures = task_function.failures
        if config.hydra.mode is RunMode.MULTIRUN and not is_listed(config.hydra):
            # Hydra has set up the job's log already.
            with reraise_past_hydra(), logged_if_refused(self.verb, config.hydra.overrides.task):
                self._validate(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Finalize the sweep, or raise its failures. Hydra skips this callback if it raises a failure itself."""
        with reraise_past_hydra():
            sweep_dir = Path(config.hydra.sweep.dir).absolute()
            failed = self._failures + read_failures(config, sweep_dir)
            if failed:
                raise SweepFailed(failed)
            Task(self.verb).hook("finalize", config, sweep_dir)

    def _validate_jobs(self, config: DictConfig) -> None:
        for job in compose_jobs(config):
            if job.get("claims") != config.get("claims"):
                raise UserError("a sweep is judged as a whole: run experiments that make claims one at a time")
            HydraConfig.instance().set_config(job)
            cfg = self._validate(job)
            require_no_interpolation(job_dir(job), "hydra.sweep.dir")
            with _explained_sweep(config):
                require_no_outside_links(job_dir(job))
                require_own_place(job_dir(job), self.verb)
            Task(self.verb).hook("reserve", cfg, job_dir(job), lock=False)

    def _writes(self, config: DictConfig) -> bool:
        """Return whether the verb writes to a directory of its own: some only print, in the current one."""
        return self.verb == "train" or config.hydra.output_subdir is not None

    def _validate(self, config: DictConfig) -> DictConfig:
        """Validate a composed config; returns the effective one."""
        cfg = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        cfg = effective_config(cfg, self.verb, config.hydra.overrides.task, run_directory(config))
        validate(cfg, self.verb)
        Task(self.verb).hook("validate", cfg)
        if is_replicas(config):
            Task(self.verb).hook("validate_together", cfg)
        return cfg


def _explained_sweep(config: DictConfig) -> AbstractContextManager[None]:
    """`explained_place` of the directory of a sweep."""
    return explained_place(Path(config.hydra.sweep.dir).absolute(), "hydra.sweep.dir")
