"""The launcher `hydra/launcher=processes`, short `jobs=N`: the jobs of a sweep in worker processes."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ProcessesLauncher(Launcher):
    """Runs jobs in processes that import once, each with its share of the cores; see `ebm_cli.cli.sweep_launch`.

    Args:
        jobs: processes at a time, >= 1, or auto: one a core.
    """

    def __init__(self, jobs: Any = "auto") -> None:
        super().__init__()
        self.jobs = jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from ebm_cli.cli.sweep_launch import launch_grid
        from ebm_cli.cli.sweep_worker import Order

        order = Order(self.hydra_context, self.config, self.task_function)
        return launch_grid(order, self.jobs, job_overrides, initial_job_idx)
