"""The launcher `hydra/launcher=replicas`, which `replicas=R` chooses: the seeds of a sweep as one network."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ReplicasLauncher(Launcher):
    """Trains jobs that differ in their seeds together, in this process; see `ebm_cli.cli.replica_launch`."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from ebm_cli.cli.replica_launch import launch

        return launch(self.hydra_context, self.config, self.task_function, job_overrides, initial_job_idx)
