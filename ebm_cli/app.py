"""One way to make a Hydra app, and one way for it to end.

Hydra makes a run's directory before the task runs, so what can be known to be wrong is refused earlier: in a callback
at the run's start, and for every job of a sweep before the first one begins. Whatever ends a run that should not have,
the person sees one line; `HYDRA_FULL_ERROR=1` shows the traceback.

A verb's module may define, beside its plain function of the same name,

    check(cfg)                        refuse a config that cannot work; builds, and makes nothing
    claim(cfg, run_dir, *, lock)      compare with what is in the run's directory; with lock=True also take it. The jobs
                                      of a sweep are called with lock=False: each takes its directory when it runs
    judge(cfg, sweep_dir)             after the last job of a sweep
"""

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from ebm_cli import catalogue
from ebm_cli.catalogue import conf_dir as conf_dir
from ebm_cli.config import retargeted, validate
from ebm_cli.errors import UserError as UserError
from ebm_cli.explain import FULL_ERROR, explain
from ebm_cli.launching import by_the_clock, check_launch, check_links, is_grid, job_dir, make_alone
from ebm_cli.stored import continued, run_dir
from ebm_cli.sweeping import JobFailed, SweepFailed, forget, note, noted
from ebm_cli.typed import prepare

INTERRUPTED = 130
LONGEST = 2000
"""Characters that a message is cut to."""


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
            line = f"job {job.job.num} ({words}): {explain(error, self.verb, catalogue.search_path())}"
            raise JobFailed(
                _report(error, line, self.traceback), cfg, Path(job.runtime.cwd, job.sweep.dir), line
            ) from None

    def hook(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Call a function that the verb's module may define beside its own."""
        # Of `ebm check`, the name of a hook is the verb's own.
        hook = getattr(self.module, name, None) if name != self.verb else None
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


class Validate(Callback):
    """Refuses a run before its directory exists.

    Args:
        verb: whose schema and hooks apply.
    """

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self._failed: list[JobFailed] = []

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the run; take its directory."""
        with _carried_out():
            cfg = self._check(config)
            check_launch(config)
            check_links(Path(config.hydra.run.dir))
            if by_the_clock(config, "hydra.run.dir"):
                # Before it is made, too: what is refused leaves nothing.
                Task(self.verb).hook("claim", cfg, Path(config.hydra.run.dir).absolute(), lock=False)
                make_alone(config, "hydra.run.dir")
            Task(self.verb).hook("claim", cfg, Path(config.hydra.run.dir).absolute(), lock=True)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every job of a grid sweep. Another sweeper's jobs are not known yet: each is checked as it starts."""
        with _carried_out():
            if is_grid(config):
                self._check_grid(config)
            if by_the_clock(config, "hydra.sweep.dir"):
                make_alone(config, "hydra.sweep.dir")
            forget(Path(config.hydra.sweep.dir))

    def _check_grid(self, config: DictConfig) -> None:
        words = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
        overrides = OverridesParser.create().parse_overrides([*words, *config.hydra.overrides.task])
        loader = GlobalHydra.instance().config_loader()
        for number, job in enumerate(BasicSweeper.split_arguments(overrides, None)[0]):
            job_config = loader.load_sweep_config(config, job)
            if job_config.get("claims") != config.get("claims"):
                raise UserError("a sweep is judged as a whole: run experiments that make claims one at a time")
            with open_dict(job_config):
                job_config.hydra.job.num = number
            cfg = self._check(job_config)
            HydraConfig.instance().set_config(job_config)
            check_links(job_dir(job_config))
            Task(self.verb).hook("claim", cfg, job_dir(job_config), lock=False)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Judge the sweep. Hydra does not come here where it raises a failure itself: one that was not kept."""
        with _carried_out():
            sweep_dir = Path(config.hydra.sweep.dir).absolute()
            failed = self._failed + noted(config, sweep_dir)
            if failed:
                raise SweepFailed(failed)
            Task(self.verb).hook("judge", config, sweep_dir)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check a job that no grid foretold."""
        if config.hydra.mode is RunMode.MULTIRUN and not is_grid(config):
            with _carried_out():
                self._check(config)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Keep a job that failed; a grid goes on, also to its next batch, and says it at the end."""
        failed = job_return._return_value
        if not isinstance(failed, JobFailed) or not is_grid(config):
            return
        here = str(config.hydra.launcher._target_).endswith(".BasicLauncher")
        if here:
            self._failed.append(failed)
        if here or note(failed, config.hydra.job.num):
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def _check(self, config: DictConfig) -> DictConfig:
        cfg = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        cfg = effective(cfg, self.verb, config.hydra.overrides.task)
        validate(cfg, self.verb)
        Task(self.verb).hook("check", cfg)
        return cfg


@contextmanager
def _carried_out() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise Refused from error


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
    where, show = catalogue.search_path(), os.environ.get(FULL_ERROR) == "1"
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
        Task(verb).hook("judge", jobs[0].cfg, jobs[0].sweep_dir)
    except Exception as error:
        _report(error, explain(error, verb, where), show)
    codes = {job.exit_code for job in jobs}
    code = codes.pop() if len(codes) == 1 else 1
    again = f"the same command with hydra.sweep.dir={jobs[0].sweep_dir}"
    _say(f"jobs that failed: {len(jobs)}; {again} tries them again, and leaves those alone that finished", code)
    for job in jobs:
        _say(job.line, code)
    return code


def _report(error: BaseException, line: str, show: bool) -> int:
    """Say what went wrong, behind the traceback where the user asked for it; the exit code."""
    if show:
        traceback.print_exception(error)
    return _say(line, getattr(error, "exit_code", 1))


def _say(line: str, code: int) -> int:
    print(f"ebm: {_printable(line)}", file=sys.stderr)
    return code


def _printable(text: str) -> str:
    """One line that can be shown: what was typed may hold line breaks, a terminal's own codes, or a million digits."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.strip())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 300]} … {line[-250:]}"


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
