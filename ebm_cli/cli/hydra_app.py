"""One way to make a Hydra app, and one way for it to end.

Hydra makes a run's directory before the task runs, so what can be known to be wrong is refused earlier: in a callback
at the run's start, and for every job of a sweep before the first one begins. Whatever ends a run that should not have,
the person sees one line; `HYDRA_FULL_ERROR=1` shows the traceback.

A verb's module may define, beside its plain function of the same name,

    validate(cfg)                     refuse a config that cannot work; builds, and makes nothing
    reserve(cfg, run_dir, *, lock)    compare with what is in the run's directory; with lock=True also take it. The jobs
                                      of a sweep are called with lock=False: each takes its directory when it runs
    finalize(cfg, sweep_dir)          after the last job of a sweep
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from ebm_cli.cli.error_messages import FULL_ERROR, _report, _say, explain
from ebm_cli.cli.overrides import prepare, retargeted
from ebm_cli.cli.sweep_failures import JobFailed, SweepFailed
from ebm_cli.config import groups
from ebm_cli.config.groups import conf_dir as conf_dir
from ebm_cli.errors import UserError as UserError
from ebm_cli.runs.stored_config import continued, run_dir

INTERRUPTED = 130


class Refused(BaseException):
    """Carries an error past Hydra, which turns an `Exception` of a callback into a warning, and prints one of a job."""


@dataclass(frozen=True)
class Task:
    """A verb's function by name: typos and `--cfg` need no import of torch, and launchers pickle a name.

    Args:
        verb: the verb.
        traceback: whether a failing job of a sweep shows its traceback, too.
    """

    verb: str
    traceback: bool = False

    @property
    def module(self) -> ModuleType:
        """Where the verb's function and hooks are; imports torch if they do."""
        return importlib.import_module(f"ebm_cli.commands.{self.verb}")

    def __call__(self, cfg: DictConfig) -> Any:
        """Run the verb on the config that it works with."""
        job = HydraConfig.get()
        try:
            return getattr(self.module, self.verb)(effective(cfg, self.verb, job.overrides.task))
        except Exception as error:
            if job.mode is not RunMode.MULTIRUN:
                raise Refused from error
            # A sweep goes on and would report its first failure alone, so each job says its own.
            words = " ".join(job.overrides.task)
            line = f"job {job.job.num} ({words}): {explain(error, self.verb, groups.search_path())}"
            raise JobFailed(
                _report(error, line, self.traceback), cfg, Path(job.runtime.cwd, job.sweep.dir), line
            ) from None

    def hook(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Call a function that the verb's module may define beside its own."""
        hook = getattr(self.module, name, None)
        if hook is not None:
            hook(*args, **kwargs)


def effective(cfg: DictConfig, verb: str, typed: Sequence[str]) -> DictConfig:
    """The config that a verb works with: the composed one, or the stored one of a run that is continued."""
    # As they were typed: iterating over Hydra's list would resolve what is to be looked at.
    words = OmegaConf.to_container(typed, resolve=False) if isinstance(typed, ListConfig) else list(typed)
    assert isinstance(words, list)
    if verb == "train" and isinstance(cfg.get("checkpoint"), str):
        return continued(cfg, words)
    return retargeted(cfg, words)


def _register_resolvers() -> None:
    """What the configs compute: where a run goes depends on the checkpoint that it continues or reads."""

    def beside(checkpoint: str | Sequence[str]) -> str:
        # Of several checkpoints, beside none of them.
        return str(run_dir(checkpoint) or Path(checkpoint).parent) if isinstance(checkpoint, str) else "outputs"

    resolvers: dict[str, Callable[..., Any]] = {
        "ebm_unless": lambda checkpoint, value: value if checkpoint is None else None,
        "ebm_run_dir": lambda checkpoint, fresh: fresh if checkpoint is None else beside(checkpoint),
        "ebm_beside": beside,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


_register_resolvers()


def run(verb: str, argv: Sequence[str]) -> int:
    """Run a verb as a Hydra app; everything that it prints about a failure is one line. Returns the exit code.

    Args:
        verb: also the name of its config and of its module in `ebm_cli.commands`.
        argv: what was typed behind the verb.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # the user's own package, from any folder; last, so that it shadows nothing
    where, show = groups.search_path(), os.environ.get(FULL_ERROR) == "1"
    try:
        argv, where = prepare(verb, argv)
        with _environment(argv=[f"ebm {verb}", *argv]), _composed_once(argv):
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=verb)(Task(verb, show))()
    except KeyboardInterrupt as signal:
        return _say(str(signal) or "interrupted", getattr(signal, "exit_code", INTERRUPTED))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else _say(str(end.code), 1)
    except JobFailed as failed:
        return _end_of_sweep(verb, [failed], where, show)
    except (Exception, Refused) as raised:
        cause = raised.__cause__ if isinstance(raised, Refused) and raised.__cause__ else raised
        if isinstance(cause, SweepFailed):
            return _end_of_sweep(verb, cause.jobs, where, show)
        return _report(cause, explain(cause, verb, where), show)
    return 0


def _end_of_sweep(verb: str, jobs: Sequence[JobFailed], where: tuple[Path, ...], show: bool) -> int:
    """Judge a sweep of which jobs failed, and say again which and why; the jobs' exit code, 1 where they differ."""
    try:
        Task(verb).hook("finalize", jobs[0].cfg, jobs[0].sweep_dir)
    except Exception as error:
        _report(error, explain(error, verb, where), show)
    codes = {job.exit_code for job in jobs}
    code = codes.pop() if len(codes) == 1 else 1
    again = f"the same command with hydra.sweep.dir={jobs[0].sweep_dir}"
    _say(f"jobs that failed: {len(jobs)}; {again} tries them again, and leaves those alone that finished", code)
    for job in jobs:
        _say(job.line, code)
    return code


@contextmanager
def _environment(argv: list[str]) -> Iterator[None]:
    """Hydra reads sys.argv; and it lets exceptions through, instead of printing them, where FULL_ERROR is set."""
    before = sys.argv, os.environ.get(FULL_ERROR)
    sys.argv, os.environ[FULL_ERROR] = argv, "1"
    try:
        yield
    finally:
        sys.argv = before[0]
        os.environ.pop(FULL_ERROR)
        if before[1] is not None:
            os.environ[FULL_ERROR] = before[1]


@contextmanager
def _composed_once(argv: Sequence[str]) -> Iterator[None]:
    """Hydra composes the whole config a first time to learn `hydra.mode`; not where nothing chosen can set it.

    Of what is shipped only experiments do (a test holds it); the user's own folders and keys may. Saves a quarter of
    what a verb without torch costs. Hydra has no switch for it: its question is answered in its place, with no mode.
    """
    words = [word.lstrip("+~") for word in argv]
    found = Hydra.get_mode
    if not any(word.startswith(("-", "experiment", "hydra")) for word in words):
        Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = found  # type: ignore[method-assign]
