"""The task that Hydra runs: calls a verb's function and its hooks, and carries their errors past Hydra.

A verb's module may define, beside its plain function of the same name,

    validate(cfg)                     refuse a config that cannot work; builds objects, writes nothing
    reserve(cfg, run_dir, *, lock)    compare with what is in the run's directory; with lock=True also lock it. The jobs
                                      of a sweep are called with lock=False: each locks its directory when it runs
    finalize(cfg, sweep_dir)          after the last job of a sweep
"""

import gc
import importlib
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ebm_cli.cli.effective_config import effective_config
from ebm_cli.cli.error_messages import explain, print_error, report
from ebm_cli.cli.grid import is_grid
from ebm_cli.cli.job_log import logged
from ebm_cli.cli.sweep_failures import JobFailed, write_failure
from ebm_cli.config.groups import search_path
from ebm_cli.errors import INTERRUPTED, NotTrustworthy
from ebm_cli.system.early_interrupt import raise_again
from ebm_cli.system.library_warnings import flush_warnings
from ebm_cli.system.screen import protect_screen


class Refused(BaseException):
    """Carries an error past Hydra, which would turn a callback's `Exception` into a warning, and print a job's."""


@contextmanager
def reraise_past_hydra() -> Iterator[None]:
    """Raise `Refused` from an exception of a callback."""
    try:
        yield
    except Exception as error:
        raise Refused from error


@dataclass
class _Result:
    """The result of a verb's function."""

    value: Any = None


@dataclass(frozen=True)
class Task:
    """A verb's function, by name: typos and `--cfg` need no import of torch, and launchers pickle a name.

    Args:
        verb: name of the verb.
        show_traceback: whether a failing job of a sweep prints its traceback.
        failures: the jobs that failed in this process, or that finished and are not to be trusted.
        directories: of the runs that were started in this process, in their order.
        interrupted: directory of the sweep that a signal has ended; empty if none has.
    """

    verb: str
    show_traceback: bool = False
    failures: list[JobFailed] = field(default_factory=list, compare=False)
    directories: list[Path] = field(default_factory=list, compare=False)
    interrupted: list[Path] = field(default_factory=list, compare=False)

    @property
    def module(self) -> ModuleType:
        """Module of the verb's function and hooks; imports torch if they do."""
        module = importlib.import_module(f"ebm_cli.commands.{self.verb}")
        raise_again()  # the verb can be interrupted: `__main__.command` has let Ctrl-C end the process
        return module

    def hook(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Call a hook of the verb's module, if it defines this one."""
        hook = getattr(self.module, name, None)
        if hook is not None:
            hook(*args, **kwargs)

    def __call__(self, cfg: DictConfig) -> Any:
        """Run the verb on its effective config.

        Returns the function's result, also of a job that finished and is not to be trusted; None for a job of a grid
        sweep that failed. Both are kept in `failures`, or in a file if they ran in another process than the sweep.

        Raises:
            Refused: the run failed.
            JobFailed: a job failed, and its failure cannot be recorded or another sweeper than the grid has to see it.
        """
        result = _Result()
        with self._concluded(cfg, result) as effective:
            result.value = getattr(self.module, self.verb)(effective)
        return result.value

    def steps(self, cfg: DictConfig, *given: Any) -> Generator[Any, Any, Any]:
        """The same as a generator of the verb's steps, its `steps_of`; the other arguments are passed on."""
        result = _Result()
        with self._concluded(cfg, result) as effective:
            result.value = yield from self.module.steps_of(effective, *given)
        return result.value

    @contextmanager
    def _concluded(self, cfg: DictConfig, result: "_Result") -> Iterator[DictConfig]:
        """Log the verb in the block, which is given its effective config, and conclude its failure; see `__call__`."""
        gc.enable()  # off while the program starts, see `cli.main.command`
        hydra = HydraConfig.get()
        protect_screen()  # in a process of a launcher, too
        try:
            with logged(self.verb, hydra.overrides.task):
                assert self.module
                flush_warnings()
                run = Path(hydra.runtime.output_dir)
                self.directories.append(run)
                yield effective_config(cfg, self.verb, hydra.overrides.task, run)
            return
        except KeyboardInterrupt as signal:
            sweep = Path(hydra.runtime.cwd, hydra.sweep.dir)
            if hydra.mode is RunMode.MULTIRUN and sweep not in self.interrupted:
                self.interrupted.append(sweep)
            if str(hydra.launcher._target_).startswith("hydra_plugins.hydra_submitit_launcher."):
                # In a process of submitit, which would print a traceback.
                sys.exit(print_error(str(signal) or "interrupted", getattr(signal, "exit_code", INTERRUPTED)))
            raise
        except Exception as error:
            if hydra.mode is not RunMode.MULTIRUN:
                raise Refused from error
            failed = self._failed_job(error, cfg)
            if isinstance(error, NotTrustworthy):
                # A finished job: the sweeper gets its value, and the sweep ends with its exit code.
                self._keep(failed)
                result.value = error.value
                return
        if is_grid(hydra) and self._keep(failed):
            return
        raise failed

    def _failed_job(self, error: Exception, cfg: DictConfig) -> JobFailed:
        """Print the error of a job at once, because the sweep continues."""
        hydra = HydraConfig.get()
        words = " ".join(hydra.overrides.task)
        line = f"job {hydra.job.num} ({words}): {explain(error, self.verb, search_path())}"
        exit_code = report(error, line, self.show_traceback)
        return JobFailed(exit_code, cfg, Path(hydra.runtime.cwd, hydra.sweep.dir), line)

    def _keep(self, failed: JobFailed) -> bool:
        """Keep a failure until the end of the sweep. Returns False if its file cannot be written."""
        hydra = HydraConfig.get()
        if not str(hydra.launcher._target_).endswith(".BasicLauncher"):
            return write_failure(failed, hydra.job.num)
        self.failures.append(failed)
        return True
