"""A search: trials of a study in worker processes, the bad ones stopped early, and the best as a command at the end."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from omegaconf import OmegaConf, open_dict
from optuna.trial import TrialState
from rich.console import Console
from rich.text import Text

from ebm_cli.cli.search_space import Numbers, Space, read_space
from ebm_cli.cli.search_study import Options, Search
from ebm_cli.cli.sweep_board import SweepBoard
from ebm_cli.cli.sweep_cores import worker_count
from ebm_cli.cli.sweep_failures import JobFailed, SweepFailed, take_failure
from ebm_cli.cli.sweep_launch import failure_in_message
from ebm_cli.cli.sweep_pool import Pool
from ebm_cli.cli.sweep_worker import Ended, Job, Order
from ebm_cli.cli.task import Refused, Task
from ebm_cli.cli.worker import Died
from ebm_cli.errors import UserError
from ebm_cli.evaluation.values import brief, format_value
from ebm_cli.quoting import shell_word
from ebm_cli.reporting.commands import shell_line
from ebm_cli.reporting.console import make_console, relative_path
from ebm_cli.reporting.sweep_table import SweepTable
from ebm_cli.runs.signals import Interrupted, Signals
from ebm_cli.runs.status import EARLY, read_status
from ebm_cli.system.files import write_json

FILE = "search.json"
"""File of the sweep's directory: the best trial, and the command that trains it."""


def search(order: Order, options: Mapping[str, Any], arguments: Sequence[str]) -> float:
    """Run trials until the study has `n_trials`; returns the lowest monitored result.

    Args:
        order: of the sweep.
        options: keys of hydra.sweeper.
        arguments: what was typed, except hydra's own keys.

    Raises:
        UserError: wrong options or values, or a config that no trial could have.
        Interrupted: by a signal; the trials that ran have written checkpoints, and the same command continues.
        SweepFailed: no trial has finished, or the best one is not to be trusted.
    """
    params = [f"{key}={value}" for key, value in (options.get("params") or {}).items()]
    chosen = Options(**{key: options[key] for key in Options._fields})
    chosen.check()
    space, fixed = read_space([*params, *arguments])
    configure_log(order.config.hydra.hydra_logging, order.config.hydra.verbose)
    _validate(order, space, fixed)
    order.sweep_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(order.config, order.sweep_dir / "multirun.yaml")
    run = _Run(order, Search(chosen, space, order.sweep_dir, fixed), fixed, chosen.n_trials)
    run.describe(space)
    run.work()
    return run.conclude()


def _validate(order: Order, space: Space, fixed: Sequence[str]) -> None:
    """Refuse a mistake that every trial would have, by the config of one of them."""
    first = [f"{key}={v.low!r}" if isinstance(v, Numbers) else f"{key}={v.values[0]}" for key, v in space.items()]
    config = order.context.config_loader.load_sweep_config(order.config, [*fixed, *first])
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = 0
    HydraConfig.instance().set_config(config)
    before = logging.root.manager.disable
    logging.disable()  # of a job that is refused: here it is the search, which has no log
    try:
        order.context.callbacks.on_job_start(config=config, task_function=order.task)
    except Refused as refused:
        for key, values in space.items():
            if isinstance(values, Numbers) and str(refused.__cause__).startswith(f"{key} must be a whole number"):
                whole = shell_word(f"{key}=int(interval({values.low:g},{values.high:g}))")
                raise UserError(f"{key} must be a whole number: {whole}") from None
        raise
    finally:
        logging.disable(before)


class _Run:
    """One command's part in a search.

    Args:
        order: of the sweep.
        study: of the search.
        fixed: overrides that all trials have.
        n_trials: of the study in all.
    """

    def __init__(self, order: Order, study: Search, fixed: Sequence[str], n_trials: int) -> None:
        self._order, self._study, self._fixed, self._n_trials = order, study, list(fixed), n_trials
        self._n_workers = worker_count(order.config.hydra.launcher.get("jobs", 1))
        self._console: Console = make_console()
        self._pruned: dict[int, int] = {}
        self._folders: dict[int, Path] = {}
        self._failures: dict[int, JobFailed] = {}
        self._own: set[int] = set()

    def describe(self, space: Space) -> None:
        """Print what is searched, and where."""
        done = self._study.count(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        before = f", {done} of them done before" if done else ""
        folder = relative_path(self._order.sweep_dir)
        self._print(f"search of {self._n_trials} trials{before}, {self._n_workers} at a time, in {folder}")
        for key, values in space.items():
            self._print(f"  {key}: {values}")

    def work(self) -> None:
        """Run trials until there are enough, or until a signal."""
        with Signals() as signals, signals.deferred(), SweepTable(self._console) as table:
            monitor = next((w.partition("=")[2] for w in self._fixed if w.startswith("monitor=")), "auto")
            board = SweepBoard(table, self._n_workers, self._share(), monitor)
            pool = Pool(self._order, self._n_workers)

            def wait() -> bool:
                board.is_ending = signals.received is not None
                board.refresh()
                if not board.is_ending:
                    self._prune(pool, board)
                return board.is_ending

            pool.run(
                self._jobs(board),
                lambda job, folder: self._begin(board, job, folder),
                lambda job, message: self._end(board, job, message, is_ending=signals.received is not None),
                wait,
            )
        if signals.received is not None:
            if isinstance(self._order.task, Task):
                self._order.task.interrupted.append(self._order.sweep_dir)
            raise Interrupted(signals.received, f"; {board.summary()}")

    def conclude(self) -> float:
        """Write and print the best trial; returns its value."""
        study, best = self._study, self._study.best
        counts = ((TrialState.COMPLETE, "finished"), (TrialState.PRUNED, EARLY), (TrialState.FAIL, "failed"))
        self._print(", ".join(f"{study.count(state)} {name}" for state, name in counts))
        if best is None:
            raise SweepFailed(list(self._failures.values()) or [self._nothing()])
        number, value, parameters, words = best
        self._print(f"best: job {number}{self._elsewhere(number)}, whose monitored result is {format_value(value)}")
        command = shell_line("ebm", "train", *self._fixed, *words)
        found = {
            "trial": number,
            "value": value,
            "parameters": parameters,
            "command": command,
            "storage": study.storage,
        }
        write_json(self._order.sweep_dir / FILE, found)
        doubtful = self._failures.get(number)
        if doubtful is not None:
            raise SweepFailed([doubtful])
        return value

    def _elsewhere(self, number: int) -> str:
        """Place of a trial that another command has run, in another folder."""
        folder = self._study.place(number)
        is_here = folder is None or folder.parent == self._order.sweep_dir
        return "" if folder is None or is_here else f" (in {relative_path(folder)})"

    def _nothing(self) -> JobFailed:
        return JobFailed(1, self._order.config, self._order.sweep_dir, "no trial of the study has finished")

    def _jobs(self, board: SweepBoard) -> Iterator[Job]:
        while (number := self._study.next_trial()) is not None:
            words, folder = self._study.overrides(number), self._study.folder(number)
            own = self._order.sweep_dir / str(number)
            moved = [] if folder in (None, own) else [f"hydra.sweep.subdir={folder}"]
            job = Job(number, [*self._fixed, *words, *moved])
            self._own.add(number)
            board.total = self._share()
            board.expect([job], [" ".join(_brief(word) for word in words)])
            yield job

    def _begin(self, board: SweepBoard, job: Job, folder: Path) -> None:
        self._folders[job.number] = folder
        self._study.began(job.number, folder)
        board.began(job, folder)

    def _prune(self, pool: Pool, board: SweepBoard) -> None:
        for number, values in board.values().items():
            if number not in self._pruned and self._study.should_stop(number, values):
                self._pruned[number] = max(values)
                pool.stop(number)

    def _share(self) -> int:
        """Trials that this command has run, runs or will: not those that others have taken since it began."""
        return max(0, self._n_trials - self._study.count_of_others(self._own))

    def _end(self, board: SweepBoard, job: Job, message: Ended | Died, *, is_ending: bool) -> None:
        board.total = self._share()
        is_interrupted = isinstance(message, Ended) and message.is_interrupted
        if is_interrupted and job.number in self._pruned:
            reason = f"{EARLY} at step {self._pruned[job.number]}: worse than half of the other trials there"
            self._study.tell(job.number, None, reason, is_pruned=True)
            _note(self._folders[job.number], reason)
            board.ended(job, None, EARLY)
        elif is_interrupted and is_ending:
            self._study.leave(job.number)
            board.ended(job, None, "interrupted")
        else:
            self._record(board, job, message)

    def _record(self, board: SweepBoard, job: Job, message: Ended | Died) -> None:
        """Record a trial that finished or failed."""
        config, folder = self._order.config, self._order.sweep_dir
        failed = failure_in_message(self._order, job, message)
        value = message.value if isinstance(message, Ended) else None
        if failed is None and value is None:
            failed = JobFailed(1, config, folder, f"job {job.number}: it has no monitored result; monitor= names one")
        self._study.tell(job.number, None if failed else value, failed.line if failed else "")
        # A finished trial that is not to be trusted has a value, too.
        failed = failed or take_failure(job.number, config, folder)
        if failed is not None:
            self._failures[job.number] = failed
        board.ended(job, failed)

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


def _brief(word: str) -> str:
    key, _, value = word.partition("=")
    return f"{key}={brief(value)}"


def _note(run: Path, reason: str) -> None:
    """Put the reason why a run was stopped into its status."""
    status = read_status(run)
    if status is not None and status.get("state") == "interrupted":
        write_json(run / "status.json", status | {"reason": reason})
