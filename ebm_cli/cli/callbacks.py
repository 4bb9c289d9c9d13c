"""Hydra callbacks: validate a run, and reserve its directory, before Hydra creates it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from ebm_cli.cli.hydra_app import Refused, Task, effective
from ebm_cli.cli.output_dirs import by_the_clock, check_launch, check_links, is_grid, job_dir, make_alone
from ebm_cli.cli.sweep_failures import JobFailed, SweepFailed, forget, note, noted
from ebm_cli.config.groups import conf_dir as conf_dir
from ebm_cli.config.validate import validate
from ebm_cli.errors import UserError as UserError


class Validate(Callback):
    """Refuses a run before its directory exists.

    Args:
        verb: whose schema and hooks apply.
    """

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self._failed: list[JobFailed] = []

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the run; take its directory."""
        with _carried_out():
            cfg = self._check(config)
            check_launch(config)
            check_links(Path(config.hydra.run.dir))
            if by_the_clock(config, "hydra.run.dir"):
                # Before it is made, too: what is refused leaves nothing.
                Task(self.verb).hook("reserve", cfg, Path(config.hydra.run.dir).absolute(), lock=False)
                make_alone(config, "hydra.run.dir")
            Task(self.verb).hook("reserve", cfg, Path(config.hydra.run.dir).absolute(), lock=True)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every job of a grid sweep. Another sweeper's jobs are not known yet: each is checked as it starts."""
        with _carried_out():
            if is_grid(config):
                self._check_grid(config)
            if by_the_clock(config, "hydra.sweep.dir"):
                make_alone(config, "hydra.sweep.dir")
            forget(Path(config.hydra.sweep.dir))

    def _check_grid(self, config: DictConfig) -> None:
        words = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
        overrides = OverridesParser.create().parse_overrides([*words, *config.hydra.overrides.task])
        loader = GlobalHydra.instance().config_loader()
        for number, job in enumerate(BasicSweeper.split_arguments(overrides, None)[0]):
            job_config = loader.load_sweep_config(config, job)
            if job_config.get("claims") != config.get("claims"):
                raise UserError("a sweep is judged as a whole: run experiments that make claims one at a time")
            with open_dict(job_config):
                job_config.hydra.job.num = number
            cfg = self._check(job_config)
            HydraConfig.instance().set_config(job_config)
            check_links(job_dir(job_config))
            Task(self.verb).hook("reserve", cfg, job_dir(job_config), lock=False)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Judge the sweep. Hydra does not come here where it raises a failure itself: one that was not kept."""
        with _carried_out():
            sweep_dir = Path(config.hydra.sweep.dir).absolute()
            failed = self._failed + noted(config, sweep_dir)
            if failed:
                raise SweepFailed(failed)
            Task(self.verb).hook("finalize", config, sweep_dir)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check a job that no grid foretold."""
        if config.hydra.mode is RunMode.MULTIRUN and not is_grid(config):
            with _carried_out():
                self._check(config)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Keep a job that failed; a grid goes on, also to its next batch, and says it at the end."""
        failed = job_return._return_value
        if not isinstance(failed, JobFailed) or not is_grid(config):
            return
        here = str(config.hydra.launcher._target_).endswith(".BasicLauncher")
        if here:
            self._failed.append(failed)
        if here or note(failed, config.hydra.job.num):
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def _check(self, config: DictConfig) -> DictConfig:
        cfg = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        cfg = effective(cfg, self.verb, config.hydra.overrides.task)
        validate(cfg, self.verb)
        Task(self.verb).hook("validate", cfg)
        return cfg


@contextmanager
def _carried_out() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise Refused from error
