"""The sweeper `hydra/sweeper=optuna`: a search by Optuna for the values with the lowest monitored result."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Runs the trials of a study in worker processes; see `ebm_cli.cli.search`.

    Args:
        **options: keys of conf/hydra/sweeper/optuna.yaml.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        from ebm_cli.cli.search import search
        from ebm_cli.cli.sweep_worker import Order

        assert self.hydra_context is not None
        assert self.config is not None
        return search(Order(self.hydra_context, self.config, self.task_function), self.options, arguments)
