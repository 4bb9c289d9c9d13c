"""One verb as a Hydra app: Hydra composes its config, makes its directory and runs it, or a sweep of it.

Hydra makes a run's directory before the task runs, so a mistake is refused earlier, by the callback `Validate`: at the
start of a run, and for every job of a sweep before the first one starts. Every failure is printed as one line;
`HYDRA_FULL_ERROR=1` shows the traceback.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra

from ebm_cli.cli.error_messages import FULL_ERROR, explain, print_error, report
from ebm_cli.cli.overrides import prepare
from ebm_cli.cli.resolvers import register_resolvers
from ebm_cli.cli.sweep_failures import JobFailed, SweepFailed
from ebm_cli.cli.task import Refused, Task
from ebm_cli.config.groups import conf_dir, search_path
from ebm_cli.errors import INTERRUPTED, NotTrustworthy
from ebm_cli.quoting import typed as quoted


def run(verb: str, argv: Sequence[str]) -> int:
    """Run a verb; a failure is printed as one line. Returns the exit code.

    Args:
        verb: the verb, also the name of its config and of its module in `ebm_cli.commands`.
        argv: what was typed behind the verb.
    """
    import_from_current_folder()
    folders, show_traceback, typed = search_path(), os.environ.get(FULL_ERROR) == "1", argv
    task = Task(verb, show_traceback)
    try:
        argv, folders = prepare(verb, argv)
        execute(task, argv, folders)
    except KeyboardInterrupt as signal:
        code = print_error(str(signal) or "interrupted", getattr(signal, "exit_code", INTERRUPTED))
        for sweep in task.interrupted:
            print_error(f"to continue, rerun {_same_command(sweep)} (finished jobs are skipped)", code)
        return code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else print_error(str(end.code), 1)
    except JobFailed as failed:
        return _conclude_sweep(verb, [failed], folders, show_traceback)
    except (Exception, Refused) as raised:
        cause = raised.__cause__ if isinstance(raised, Refused) and raised.__cause__ else raised
        if isinstance(cause, SweepFailed):
            return _conclude_sweep(verb, cause.jobs, folders, show_traceback)
        return report(cause, explain(cause, verb, folders, typed), show_traceback)
    return 0


def import_from_current_folder() -> None:
    """Let a config name a class of the user's own package, from any folder; last, so that it shadows nothing."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def execute(task: Task, words: Sequence[str], folders: Sequence[Path]) -> None:
    """Run a verb; every failure is raised.

    Args:
        task: the verb's function.
        words: what `overrides.prepare` made of what was typed.
        folders: of options, from there, too.

    Raises:
        Refused: the verb refused its config or failed: the cause is the error.
        JobFailed, SweepFailed: jobs of a sweep failed.
        KeyboardInterrupt, SystemExit, Exception: from Hydra and from a signal.
    """
    register_resolvers(folders)
    with _process_of_hydra(argv=[f"ebm {task.verb}", *words]):
        app = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=task.verb)
        app(task)()


def _conclude_sweep(verb: str, jobs: Sequence[JobFailed], folders: Sequence[Path], show_traceback: bool) -> int:
    """Finalize a sweep with jobs that failed or are not to be trusted, and list them.

    Returns the exit code of the failed jobs, 1 if theirs differ; without any, that of the untrustworthy ones.
    """
    try:
        Task(verb).hook("finalize", jobs[0].cfg, jobs[0].sweep_dir)
    except Exception as error:
        report(error, explain(error, verb, folders), show_traceback)
    failed = [job for job in jobs if job.exit_code != NotTrustworthy.exit_code]
    doubtful = [job for job in jobs if job.exit_code == NotTrustworthy.exit_code]
    codes = {job.exit_code for job in failed or doubtful}
    code = codes.pop() if len(codes) == 1 else 1
    if failed:
        same = _same_command(failed[0].sweep_dir)
        print_error(f"{_counted(failed)} failed; rerun {same} to retry (finished jobs are skipped)", code)
        for job in failed:
            print_error(job.line, code)
    if doubtful:
        print_error(
            f"{_counted(doubtful)} finished, and {'is' if len(doubtful) == 1 else 'are'} not to be trusted", code
        )
        for job in doubtful:
            print_error(job.line, code)
    return code


def _same_command(sweep: Path) -> str:
    return f"the same command with {quoted('hydra.sweep.dir', sweep)}"


def _counted(jobs: Sequence[JobFailed]) -> str:
    return "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"


@contextmanager
def _process_of_hydra(argv: list[str]) -> Iterator[None]:
    """Set `sys.argv`, which Hydra reads, and FULL_ERROR, with which it raises exceptions instead of printing them."""
    before = sys.argv, os.environ.get(FULL_ERROR)
    sys.argv, os.environ[FULL_ERROR] = argv, "1"
    try:
        yield
    finally:
        sys.argv = before[0]
        os.environ.pop(FULL_ERROR)
        if before[1] is not None:
            os.environ[FULL_ERROR] = before[1]
