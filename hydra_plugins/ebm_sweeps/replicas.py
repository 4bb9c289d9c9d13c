"""The launcher `hydra/launcher=replicas`, which `replicas=R` chooses: the seeds of a sweep as one network."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ReplicasLauncher(Launcher):
    """Trains jobs that differ in their seeds together, in this process; see `ebm_cli.cli.replica_launch`.

    Args:
        jobs: processes that make the final evaluations, >= 1, or auto: one a core. 1 is this process.
    """

    def __init__(self, jobs: Any = 1) -> None:
        super().__init__()
        self.jobs = jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from ebm_cli.cli.replica_launch import launch

        context, config, task = self.hydra_context, self.config, self.task_function
        return launch(context, config, task, job_overrides, initial_job_idx, self.jobs)
