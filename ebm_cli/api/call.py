"""A call of a verb from Python: the same way through Hydra, errors as exceptions, and a process left as it was."""

import builtins
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

from omegaconf import DictConfig

from ebm_cli.cli.effective_config import effective_config
from ebm_cli.cli.error_messages import explain
from ebm_cli.cli.flags import parse
from ebm_cli.cli.hydra_app import execute, import_from_current_folder
from ebm_cli.cli.overrides import prepare
from ebm_cli.cli.own_hydra import own_hydra
from ebm_cli.cli.resolvers import register_resolvers
from ebm_cli.cli.task import Refused, Task
from ebm_cli.config.groups import conf_dir, search_path
from ebm_cli.errors import UserError
from ebm_cli.runs.reserve import AlreadyFinished
from ebm_cli.system.library_warnings import log_warnings
from ebm_cli.system.precision import ProductPrecision
from ebm_cli.system.process_state import restored

_turn = threading.RLock()
"""Calls take turns: Hydra, logging and the number of threads belong to the whole process."""


@contextmanager
def guest(verb: str, words: Sequence[str] = ()) -> Iterator[None]:
    """Do a verb's work inside a program of the caller, which is put back as it was at the end.

    Args:
        verb: its groups and keys are suggested in messages.
        words: what the caller wrote.

    Raises:
        UserError: for every error that the command would print as a line, with that line. An error with an exit code of
            its own keeps its class: `Diverged`, `NotTrustworthy`.
    """
    with _turn, restored(), ProductPrecision(), own_hydra(), _as_text():
        import_from_current_folder()
        log_warnings()
        try:
            yield
        except SystemExit as end:
            raise UserError(f"{verb}: {end.code}") from end
        except (Exception, Refused) as raised:
            cause = _cause(raised)
            if isinstance(cause, UserError) or hasattr(cause, "exit_code"):
                raise cause from cause.__cause__
            raise UserError(explain(cause, verb, search_path(), words)) from cause


@contextmanager
def _as_text() -> Iterator[None]:
    """Let rich write to `sys.stdout` in a notebook, too, where it would display each line as HTML of its own."""
    shell = vars(builtins).pop("get_ipython", None)
    try:
        yield
    finally:
        if shell is not None:
            vars(builtins)["get_ipython"] = shell


def run_verb(verb: str, words: Sequence[str], quiet: bool) -> Path:
    """Run a verb inside `guest`; returns its directory.

    Raises:
        NotTrustworthy: its outcome is not to be trusted; a note names the directory.
        KeyboardInterrupt: a note names the directory of the run that was interrupted, if there is one.
    """
    flags = parse([_text(word) for word in words])
    if flags.multirun:
        raise UserError("--multirun: a sweep is many runs; start it with `ebm train -m …`, or call train for each")
    if any(word.startswith("replicas=") for word in words):
        raise UserError("replicas: many runs; start them with `ebm train replicas=…`, or call train for each seed")
    extra = [word for word in words if word.startswith("-") and word.partition("=")[0] not in ("--config-dir", "-cd")]
    if extra:
        raise UserError(f"{extra[0]}: of the flags, a function takes --config-dir only")
    task = Task(verb)
    try:
        with redirect_stdout(io.StringIO()) if quiet else nullcontext():
            execute(task, *prepare(verb, words))
    except (Exception, Refused, KeyboardInterrupt) as raised:
        error = _cause(raised)
        if isinstance(error, AlreadyFinished):
            return error.path.absolute()
        if task.directories and not isinstance(error, UserError):
            error.add_note(f"Its files are in {task.directories[-1]}")
        raise
    return task.directories[-1]


def _cause(raised: BaseException) -> BaseException:
    """The error of the verb, which `Refused` carries past Hydra."""
    return raised.__cause__ if isinstance(raised, Refused) and raised.__cause__ else raised


def compose_config(verb: str, words: Sequence[str]) -> DictConfig:
    """The config of a verb, inside `guest`, without its node `hydra`."""
    from hydra import compose, initialize_config_dir

    prepared, folders = prepare(verb, [_text(word) for word in words])
    register_resolvers(folders)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return effective_config(compose(verb, prepared), verb, words, None)


def _text(word: object) -> str:
    if not isinstance(word, str):
        raise UserError(f"{word!r}: an override is a text, such as 'steps=100'")
    return word
