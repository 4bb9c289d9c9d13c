"""A worker process of a sweep: imports once, runs one job after the other, and prints nothing.

What a job prints goes to `terminal.txt` in its directory. The terminal's Ctrl-C does not reach a worker: the parent
passes one on, on which the job writes its checkpoint. If the parent is gone, the worker does this to itself.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from ebm_cli.cli.error_messages import explain
from ebm_cli.cli.resolvers import register_resolvers
from ebm_cli.cli.sweep_failures import JobFailed
from ebm_cli.cli.task import Refused
from ebm_cli.config.groups import search_path

TERMINAL = "terminal.txt"
"""File of a job's directory with what the job printed."""


class Order(NamedTuple):
    """The common part of all jobs of a sweep: the arguments that Hydra gives to a launcher.

    Attributes:
        context: Hydra's config loader and callbacks.
        config: of the sweep, with its node `hydra`.
        task: the verb.
    """

    context: HydraContext
    config: DictConfig
    task: TaskFunction

    @property
    def sweep_dir(self) -> Path:
        """Directory of the sweep, absolute."""
        return Path(str(self.config.hydra.sweep.dir)).absolute()


class Job(NamedTuple):
    """One job: its number in the sweep and its overrides."""

    number: int
    overrides: Sequence[str]


class Began(NamedTuple):
    """A message of a worker: its job begins in this directory."""

    directory: Path


class Failure(NamedTuple):
    """Why a job failed: the exit code of its error, and its message."""

    exit_code: int
    line: str


class Ended(NamedTuple):
    """A message of a worker: its job has ended.

    Attributes:
        value: what the verb returned; None for a job that failed.
        failure: that Hydra is told of; None also for one that the job has recorded itself (`sweep_failures`).
        is_interrupted: whether a signal ended it.
    """

    value: Any = None
    failure: Failure | None = None
    is_interrupted: bool = False


def work(connection: Connection, order: Order) -> None:
    """Run jobs until the parent has no more.

    Args:
        connection: to the parent; it gives a `Job`, or None, and is given one `Began` and one `Ended` for each.
        order: of the sweep.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        _prepare(order)
        while (job := connection.recv()) is not None:
            ended = _run(connection, order, job)
            connection.send(ended)
            if ended.is_interrupted:
                break


def _end_with_parent() -> None:
    """Interrupt this process when its parent has gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGINT)


def _prepare(order: Order) -> None:
    """Make this process what Hydra's own is when the first job starts."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    setup_globals()
    folders = [source.path for source in order.config.hydra.runtime.config_sources if source.schema == "file"]
    register_resolvers([Path(folder) for folder in folders])
    Plugins.instance()
    JobRuntime.instance().set("name", order.config.hydra.job.name)


def _run(connection: Connection, order: Order, job: Job) -> Ended:
    """Run a job."""
    try:
        config = order.context.config_loader.load_sweep_config(order.config, list(job.overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = job.number
        HydraConfig.instance().set_config(config)
        directory = Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir)).absolute()
        connection.send(Began(directory))
        directory.mkdir(parents=True, exist_ok=True)
        with _printing_to(directory / TERMINAL):
            returned = run_job(
                hydra_context=order.context,
                task_function=order.task,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        if returned.status is JobStatus.COMPLETED:
            return Ended(returned.return_value)
        raise returned._return_value
    except KeyboardInterrupt:
        return Ended(is_interrupted=True)
    except JobFailed as failed:
        return Ended(failure=Failure(failed.exit_code, failed.line))
    except (Exception, Refused) as raised:
        cause = raised.__cause__ if isinstance(raised, Refused) and raised.__cause__ else raised
        reason = explain(cause, order.config.hydra.job.name, search_path())
        return Ended(failure=Failure(getattr(cause, "exit_code", 1), f"{title_of(job)}: {reason}"))


def title_of(job: Job) -> str:
    """A job in a message: its number and what was typed for it."""
    words = " ".join(word for word in job.overrides if not word.startswith("hydra."))
    return f"job {job.number} ({words})"


@contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Append what this process prints in the block, also from C++, to a file."""
    before = os.dup(1), os.dup(2)
    with path.open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, copy in zip((1, 2), before, strict=True):
            os.dup2(copy, number)
            os.close(copy)
