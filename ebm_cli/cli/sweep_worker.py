"""A worker process of a sweep: imports once, runs one job after the other, and prints nothing.

What a job prints goes to `terminal.txt` in its directory. The terminal's Ctrl-C does not reach a worker. The parent
sends it a word, on which the job writes its checkpoint and ends; the end of the parent itself has the same effect.
"""

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from hydra.version import setbase
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


class Stop(NamedTuple):
    """A message to a worker: end this job with its checkpoint, if it is still the present one."""

    number: int


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
        connection: to the parent; it sends a `Job` or a `Stop`, and is sent one `Began` and one `Ended` for each job.
        order: of the sweep.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    post = Post(connection)
    with suppress(BrokenPipeError):
        _prepare(order)
        while (job := post.next_job()) is not None:
            connection.send(post.run(job, partial(_run, connection, order, job)))


class Post:
    """The messages of the parent, read by a thread beside the job so that one to stop is heard at once.

    Args:
        connection: to the parent.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._present: int | None = None
        self._stopped: set[int] = set()
        threading.Thread(target=self._listen, daemon=True).start()

    def next_job(self) -> Job | None:
        """Wait for a job; None if there is no other."""
        return self._jobs.get()

    def run(self, job: Job, call: Callable[[], Ended]) -> Ended:
        """Run a job that a message can stop: a signal to this process's main thread, as from a keyboard."""
        try:
            with self._lock:
                if job.number in self._stopped:
                    return Ended(is_interrupted=True)
                self._present = job.number
            ended = call()
            # After this block no signal comes any more that is meant for this job.
            with self._lock:
                self._present = None
            return ended
        except KeyboardInterrupt:
            self._present = None
            return Ended(is_interrupted=True)

    def _listen(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):  # the parent has no more jobs, or is gone
                self._jobs.put(None)
                self._stop(self._present)
                return
            if isinstance(message, Stop):
                self._stop(message.number)
            else:
                self._jobs.put(message)

    def _stop(self, number: int | None) -> None:
        with self._lock:
            if number is not None:
                self._stopped.add(number)
                if number == self._present:
                    signal.pthread_kill(cast(int, threading.main_thread().ident), signal.SIGINT)


def _prepare(order: Order) -> None:
    """Make this process what Hydra's own is when the first job starts."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    # Without it Hydra makes a job's directory the current one, and relative paths lead nowhere.
    setbase("1.3")
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
