"""The jobs of a sweep in worker processes: shown in a table while they run, and ended with checkpoints by a signal.

A job's results are those that it has in a sweep without `jobs=`: the same function runs the same config. Only a network
so large that `threads=auto` takes more than one thread gets a job's share of the cores instead of all of them.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log

from ebm_cli.cli.grid import is_grid
from ebm_cli.cli.sweep_board import SweepBoard, differing
from ebm_cli.cli.sweep_cores import worker_count
from ebm_cli.cli.sweep_failures import JobFailed, failure_of, write_failure
from ebm_cli.cli.sweep_pool import Pool
from ebm_cli.cli.sweep_worker import TERMINAL, Ended, Failure, Job, Order, title_of
from ebm_cli.cli.task import Task
from ebm_cli.cli.worker import Died
from ebm_cli.reporting.console import make_console, relative_path
from ebm_cli.reporting.sweep_table import SweepTable
from ebm_cli.runs.signals import Interrupted, Signals


def launch_grid(order: Order, jobs: Any, overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run jobs that are all known, and return their results in order.

    Args:
        order: of the sweep.
        jobs: processes at a time: `hydra.launcher.jobs`.
        overrides: of each job.
        first: number of the first job.

    Raises:
        Interrupted: by a signal; the jobs that ran have ended with their checkpoints.
        UserError: a wrong number of processes.
    """
    todo = [Job(first + i, list(words)) for i, words in enumerate(overrides)]
    n_workers = min(worker_count(jobs), max(1, len(todo)))
    configure_log(order.config.hydra.hydra_logging, order.config.hydra.verbose)
    order.sweep_dir.mkdir(parents=True, exist_ok=True)
    results: dict[int, JobReturn] = {}
    console = make_console()
    console.print(
        f"{len(todo)} jobs, {n_workers} at a time, in {relative_path(order.sweep_dir)}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    with Signals() as signals, signals.deferred(), SweepTable(console) as table:
        board = SweepBoard(table, n_workers, len(todo))
        board.expect(todo, differing(todo))

        def end(job: Job, message: Ended | Died) -> None:
            if signals.received is not None and isinstance(message, Ended) and message.is_interrupted:
                board.ended(job, None, "interrupted")
                return
            result = results[job.number] = result_of(order, job, message)
            board.ended(job, failure_in(order, job, result))

        def wait() -> bool:
            board.is_ending = signals.received is not None
            board.refresh()
            return board.is_ending

        Pool(order, n_workers).run(iter(todo), board.began, end, wait)
    if signals.received is not None:
        if isinstance(order.task, Task):
            order.task.interrupted.append(order.sweep_dir)
        n_stopped = board.count("interrupted")
        raise Interrupted(signals.received, f"; {board.summary()}, {n_stopped} stopped while {_they(n_stopped)} ran")
    return [results[job.number] for job in todo]


def result_of(order: Order, job: Job, message: Ended | Died) -> JobReturn:
    """The result of a job for Hydra: its value, or its failure.

    The death of a job's process is recorded in a grid sweep as a job records its own failure.
    """
    returned = JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED)
    failed = failure_in_message(order, job, message)
    if failed is None:
        assert isinstance(message, Ended)
        returned.return_value = message.value
    elif not (is_grid(order.config.hydra) and write_failure(failed, job.number)):
        returned.status, returned.return_value = JobStatus.FAILED, failed
    return returned


def failure_in_message(order: Order, job: Job, message: Ended | Died) -> JobFailed | None:
    """The failure that the end of a job's message says; None also for one that the job has recorded itself."""
    failure = _death(job, message) if isinstance(message, Died) else message.failure
    if isinstance(message, Ended) and message.is_interrupted:
        failure = Failure(1, f"{title_of(job)}: a signal to its process alone has ended it")
    return None if failure is None else JobFailed(failure.exit_code, order.config, order.sweep_dir, failure.line)


def failure_in(order: Order, job: Job, result: JobReturn) -> JobFailed | None:
    """Why a job failed; None if it did not."""
    if result.status is JobStatus.FAILED:
        assert isinstance(result._return_value, JobFailed)
        return result._return_value
    return failure_of(job.number, order.config, order.sweep_dir)


def _they(n: int) -> str:
    return "it" if n == 1 else "they"


def _death(job: Job, died: Died) -> Failure:
    return Failure(1, f"{title_of(job)}: its process {died.how}; its {TERMINAL} may say more")
