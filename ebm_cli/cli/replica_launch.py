"""The jobs of a sweep that differ in their seeds alone, trained together in this process (`replicas=R`).

Hydra starts each job as in any sweep, which makes its directory, its log and its stored config; the runs then train
together. Each finds its own Hydra config and its own log wherever its code runs.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from ebm_cli.cli.replica_board import ReplicaBoard
from ebm_cli.cli.task import Task
from ebm_cli.runs.signals import Interrupted, Signals


@dataclass
class _Job:
    """A job that Hydra has started: what its code needs when it runs.

    Attributes:
        words: its overrides.
        result: that Hydra is given.
        config: of the verb.
        hydra: Hydra's own.
        handlers: of its log.
    """

    words: list[str]
    result: JobReturn
    config: DictConfig
    hydra: Any
    handlers: list[logging.Handler]

    def enter(self) -> None:
        """Make Hydra's config and the log those of this job."""
        HydraConfig.instance().cfg = self.hydra
        logging.getLogger().handlers[:] = self.handlers

    @property
    def directory(self) -> Path:
        return Path(self.hydra.hydra.runtime.output_dir)


def launch(
    context: HydraContext,
    config: DictConfig,
    task: TaskFunction,
    overrides: Sequence[Sequence[str]],
    first: int,
    jobs: Any,
) -> list[JobReturn]:
    """Run jobs, those that differ in their seeds alone together; returns their results in order.

    Args:
        context, config, task: of the sweep.
        overrides: of each job.
        first: number of the first job.
        jobs: processes that make the final evaluations: `hydra.launcher.jobs`.

    Raises:
        Interrupted: by a signal; all runs have ended with their checkpoints.
    """
    assert isinstance(task, Task)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    numbered = list(enumerate((list(words) for words in overrides), first))
    results: list[JobReturn] = []
    for _, group in groupby(numbered, lambda job: _without_seed(job[1])):
        started = [_start(context, config, number, words) for number, words in group]
        try:
            _train(task, started, jobs)
        finally:
            for handler in {handler for job in started for handler in job.handlers}:
                handler.close()
            HydraConfig.instance().cfg = None
            configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        results += [job.result for job in started]
    return results


def _without_seed(words: Sequence[str]) -> list[str]:
    return [word for word in words if not word.startswith("seed=")]


def _start(context: HydraContext, config: DictConfig, number: int, words: list[str]) -> _Job:
    """Let Hydra start a job, up to the call of its task."""
    job = context.config_loader.load_sweep_config(config, words)
    with open_dict(job):
        job.hydra.job.id = job.hydra.job.num = number
    started: list[tuple[DictConfig, Any, list[logging.Handler]]] = []

    def begin(cfg: DictConfig) -> None:
        started.append((cfg, HydraConfig.instance().cfg, logging.getLogger().handlers[:]))

    result = run_job(begin, job, "hydra.sweep.dir", "hydra.sweep.subdir", context)
    return _Job(words, result, *started[0])


def _train(task: Task, jobs: Sequence[_Job], n_processes: Any) -> None:
    """Train jobs together, evaluate them in so many processes, and write into each what Hydra is given for it."""
    board = ReplicaBoard([(job.directory, job.words) for job in jobs])
    with Signals() as signals:
        with board:
            runs = [task.steps(job.config, signals, board.quiet) for job in jobs]
            ended = task.module.train_together(
                runs, jobs[0].config, lambda i: jobs[i].enter(), board.show, board.end, n_processes, signals
            )
        for job, end in zip(jobs, ended, strict=True):
            job.result.return_value = end.value if end.error is None else end.error
            job.result.status = JobStatus.COMPLETED if end.error is None else JobStatus.FAILED
        interrupted = next((end.error for end in ended if isinstance(end.error, KeyboardInterrupt)), None)
        if signals.received is not None:
            raise Interrupted(signals.received, "; the runs that were not finished have written a checkpoint")
        if interrupted is not None:
            raise interrupted
