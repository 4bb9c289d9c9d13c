"""Error messages: one line that names the key, the value and what to do.

Errors of Hydra, OmegaConf and the system get their words here. Our own, `errors.UserError`, have theirs from where they
are raised: `main` and `flags` for verbs and flags, `overrides` for options, `config.validate` for keys and types. A key
that the config does not have is explained in `unknown_keys`.
"""

import re
import sys
import traceback
from collections.abc import Collection, Sequence
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from ebm_cli.cli.plugins import explain_missing_plugin
from ebm_cli.cli.unknown_keys import explain_data_file, explain_unknown_key
from ebm_cli.cli.unquoted import quoted_list
from ebm_cli.config.groups import find_file, group_options
from ebm_cli.errors import NotTrustworthy, UserError, did_you_mean, first_line, full_disk, memory_asked_for
from ebm_cli.quoting import shell_word
from ebm_cli.quoting import typed as quoted

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Environment variable: 1 shows the traceback before the message."""
LONGEST = 2000
"""Characters of a message that are shown."""
LOST_JOBS = ("UncompletedJobError", "FailedJobError")
"""Exceptions of submitit for a job that did not come to its end."""
COMPOSERS = ("hydra", "omegaconf", "logging")
"""Packages that turn overrides into a config and set up logging."""
OTHER_NAMES = {
    "ula": "langevin", "sgld": "langevin", "baoab": "underdamped", "rwm": "metropolis", "hamiltonian": "hmc",
    "replica_exchange": "tempering", "parallel_tempering": "tempering",
    "score_matching": "sm", "sliced": "ssm", "denoising": "dsm",
    "energy_discrepancy": "ed", "conditional_nce": "cnce",
}  # fmt: skip
"""Names of options in the literature → here, where no spelling is near."""


def report(error: BaseException, line: str, show_traceback: bool) -> int:
    """Print a message, after the traceback if the user asked for it. Returns the exit code."""
    if show_traceback and not isinstance(error, NotTrustworthy):
        traceback.print_exception(error)
    return print_error(line, getattr(error, "exit_code", 1))


def print_error(line: str, code: int) -> int:
    """Print a message to stderr. Returns `code`."""
    print(f"ebm: {_printable(line)}", file=sys.stderr)
    return code


def _printable(text: str) -> str:
    """The text in one line: an override may contain line breaks, control codes of a terminal, or a million digits."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.strip())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 300]} … {line[-250:]}"


def explain(error: BaseException, verb: str, folders: Sequence[Path], typed: Sequence[str] = ()) -> str:
    """Explain an error in one line.

    Args:
        error: any exception that ended the command.
        verb: its groups and keys are suggested.
        folders: of options, see `search_path`.
        typed: words behind the verb, of which an error from inside Hydra or a plugin is shown with those it is about.
    """
    if isinstance(error, UserError) or hasattr(error, "exit_code"):
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _explain_missing_option(error, folders, typed) or _with_typed(first_line(error), typed)
    if isinstance(error, OverrideParseException):
        return _explain_wrong_function(error) or _explain_unreadable(error.override)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _with_typed(_explain_composition(error, verb, folders, typed), typed)
    if type(error).__name__ in LOST_JOBS:
        return _explain_lost_job(error)
    full = full_disk(error)
    if full is not None:
        return f"no room to write{f' {full.filename}' if full.filename else ''} ({full.strerror})"
    if isinstance(error, UnicodeEncodeError) and any("\udc80" <= c <= "\udcff" for c in error.object):
        return f"{error.object!r}: a name with bytes that are no text here; PYTHONUTF8=1 reads names as UTF-8"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    if memory := memory_asked_for(error):
        return (
            f"not enough memory: {memory} is needed at once; choose a smaller network, batch_size or n_chains, or "
            "fewer columns or pixels of the data"
        )
    return _explain_unexpected(error, typed)


def _explain_lost_job(error: BaseException) -> str:
    """Say what to do about a job that a queue ended, in place of submitit's many lines."""
    again = "the same command with the same hydra.sweep.dir continues from the last checkpoints"
    if "timed-out" in str(error):
        return (
            "the job's time was over (hydra.launcher.timeout_min) and it was not put back into the queue "
            f"(hydra.launcher.max_num_timeout): {again}"
        )
    return f"a job ended without a result, since it was cancelled or its node went down: {again}"


def _explain_wrong_function(error: OverrideParseException) -> str | None:
    """A function of Hydra's grammar with wrong arguments, such as interval(1); None for another mistake."""
    found = re.search(r"while evaluating '.*': (.+)", str(error))
    unknown = re.search(r"Unknown function '(\w+)'", found[1]) if found else None
    if unknown:
        return (
            f"{error.override}: no function {unknown[1]}; there are range(start,stop,step) and, for a search with "
            "hydra/sweeper=optuna, interval(low,high)"
        )
    return f"{error.override}: {found[1]}" if found else None


def _explain_unreadable(word: str) -> str:
    """Show an override that Hydra cannot read as it has to be typed, if its value is meant as text."""
    key, equals, value = word.partition("=")
    if not equals:
        return f"{word}: cannot be read as key=value; a key is set with {shell_word(f'{key}=VALUE')}"
    if not value.strip("'\""):
        return f"{word}: cannot be read as key=value"
    items = quoted_list(key, value)
    if items is not None:
        return f"{word}: cannot be read as key=value; quote the texts of the list: {shell_word(items)}"
    return f"{word}: cannot be read as key=value; if the value is one text, quote it: {quoted(key, value)}"


def _with_typed(line: str, typed: Sequence[str]) -> str:
    """A library's message behind what was typed, if the message shows nothing of it.

    A word is meant by a message that has its key or its value; without such a word, those that Hydra reads as more than
    a text are shown, or all of them.
    """
    parts = [(word, *word.partition("=")[::2]) for word in typed if not word.startswith("-")]
    if any(word in line or key in line for word, key, _ in parts):
        return line
    about = [word for word, _, value in parts if len(value) > 1 and value in line]
    about = about or [word for word, key, value in parts if set("${,(") & set(value) or key.startswith("hydra")]
    shown = " ".join(about or [word for word, _, _ in parts])
    return f"{shown}: {line}" if shown else line


def _explain_unexpected(error: BaseException, typed: Sequence[str]) -> str:
    """Name the source line, unless the error was raised while Hydra or OmegaConf composed the config."""
    frames = traceback.extract_tb(error.__traceback__)
    packages = [{*COMPOSERS, "ebm_cli"} & set(Path(frame.filename).parts) for frame in reversed(frames)]
    if "ebm_cli" not in next(filter(None, packages), {"ebm_cli"}):
        # An override that they do not handle, and no error of a verb: a verb does not compose.
        return _with_typed(f"cannot be composed: {type(error).__name__}: {first_line(error)}", typed)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {first_line(error)}{place}; {FULL_ERROR}=1 shows the traceback"


def _explain_missing_option(error: MissingConfigException, folders: Sequence[Path], typed: Sequence[str]) -> str | None:
    """List the options of `method` for the missing file `method/ncee`; groups and options may be in sub-folders."""
    missing = error.missing_cfg_file or ""
    parts = missing.split("/")
    if parts[0] == "hydra" and len(parts) > 2:
        return explain_missing_plugin("/".join(parts[:-1]), parts[-1], error.options or ())
    for n in range(1, len(parts)):
        group, option = "/".join(parts[:n]), "/".join(parts[n:])
        known = group_options(group, folders)
        if known:
            # The group may have been typed for another place of the config: eval.sampler=hmcc.
            key = next((word[: -len(option) - 1] for word in typed if word.endswith(f"={option}")), group)
            near = _own_name(option, known) or did_you_mean(option, known) or _density_of(group, option, folders)
            data = explain_data_file(key, option) if group == "dataset" else None
            return data or f"{key}={option}: no such option{near} ({', '.join(known)})"
    return None


def _own_name(option: str, known: Collection[str]) -> str:
    """Our name of an option that the literature also calls otherwise."""
    name = OTHER_NAMES.get(option.lower())
    return f"; it is called {name} here" if name in known else ""


def _density_of(group: str, option: str, folders: Sequence[Path]) -> str:
    """The words for the density of a data set, where an energy was meant; empty for any other option."""
    file = find_file(f"dataset/{option}", folders) if group == "energy" else None
    target = re.search(r"^density:\n +_target_: *(\S+)", file.read_text(encoding="utf-8"), re.M) if file else None
    return f"; it is a data set, whose density is energy._target_={target[1]}" if target else ""


def _explain_composition(error: BaseException, verb: str, folders: Sequence[Path], typed: Sequence[str]) -> str:
    message, cause = str(error), error.__cause__
    ambiguous = re.match(r"(?:Ambiguous value for argument|Sweep parameters) '([^']+)'", message)
    if ambiguous:
        word = ambiguous[1]
        key, _, value = word.partition("=")
        if "interval(" in value:
            return f"{word}: names an interval, which is searched with -m hydra/sweeper=optuna"
        return (
            f"{word}: names several values; add -m to sweep over them, or write {key}=[{value}] for a list, or "
            f"{quoted(key, value)} for one text"
        )
    if "does not support sweep type" in message:
        return "a grid sweeps over listed values only (key=a,b); add hydra/sweeper=optuna to search an interval"
    unknown = re.match(r"Could not override '([^']+)'", message)
    if unknown:
        return explain_unknown_key(unknown[1], cause, verb, folders, typed)
    detail = f" ({first_line(cause)})" if cause is not None and str(cause) else ""
    return f"{first_line(error)}{detail}" if message.strip() else first_line(cause or error)
