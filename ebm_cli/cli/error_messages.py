"""One line for each way to be wrong: it names the key, the value and what would be right."""

import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ebm_cli.config import groups as catalogue
from ebm_cli.config.groups import conf_dir as conf_dir
from ebm_cli.errors import UserError as UserError
from ebm_cli.errors import did_you_mean, first_line, full_disk

LONGEST = 2000
"""Characters that a message is cut to."""


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


COMPOSERS = ("hydra", "omegaconf", "logging")
"""Who makes a config, and a place for logs, of what was typed."""
FULL_ERROR = "HYDRA_FULL_ERROR"
"""Set to 1, this variable shows the traceback behind the line."""


def explain(error: BaseException, verb: str, where: Sequence[Path]) -> str:
    """One line that names the key, the value and what would be right."""
    if isinstance(error, UserError) or hasattr(error, "exit_code"):
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_such_option(error.missing_cfg_file, where) or first_line(error)
    if isinstance(error, OverrideParseException):
        # What was typed is in the message, and may have any number of lines.
        lines = str(error).replace(error.override, "").split("\n")
        reason = lines[1].partition(" expecting ")[0].strip() if len(lines) > 1 else ""
        return f"{error.override}: cannot be read as key=value{f' ({reason})' if reason.strip('^') else ''}"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _composition(error, verb, where)
    full = full_disk(error)
    if full is not None:
        return f"no room to write{f' {full.filename}' if full.filename else ''} ({full.strerror})"
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return f"not enough memory: {first_line(error)}"
    frames = traceback.extract_tb(error.__traceback__)
    frame = frames[-1:]
    packages = [{*COMPOSERS, "ebm_cli"} & set(Path(frame.filename).parts) for frame in reversed(frames)]
    if "ebm_cli" not in next(filter(None, packages), {"ebm_cli"}):
        # What they did not foresee in what was typed: no mistake of a verb, which does not compose.
        return f"cannot be composed: {type(error).__name__}: {first_line(error)}"
    place = f" ({Path(frame[0].filename).name}:{frame[0].lineno})" if frame else ""
    return f"{type(error).__name__}: {first_line(error)}{place}; {FULL_ERROR}=1 shows the traceback"


def _no_such_option(missing: str, where: Sequence[Path]) -> str | None:
    """`method/ncee` → which options `method` has. Options may lie in sub-folders, and groups may too."""
    parts = missing.split("/")
    for n in range(1, len(parts)):
        folder, option = "/".join(parts[:n]), "/".join(parts[n:])
        known = catalogue.options(folder, where)
        if known:
            near = did_you_mean(option, known)
            return f"{folder}={option}: no such option{near} ({', '.join(known)})"
    return None


def _composition(error: BaseException, verb: str, where: Sequence[Path]) -> str:
    message, cause = str(error), error.__cause__
    unknown = re.match(r"Could not override '([^']+)'", message) or re.match(r"Could not (?:append|delete)", message)
    ambiguous = re.match(r"(?:Ambiguous value for argument|Sweep parameters) '([^']+)'", message)
    if ambiguous:
        word = ambiguous[1]
        key, _, value = word.partition("=")
        return f"{word}: names several values; add -m to sweep over them, or write {key}=[{value}] for a list"
    if unknown and unknown.lastindex:
        key = unknown[1]
        groups = {group.name for group in catalogue.groups(verb, where)}
        known = _siblings(cause) if _siblings(cause) else sorted(groups)
        level = key.rpartition(".")[0]
        near = did_you_mean(key.rpartition(".")[2], known)
        listed = f"; there are {', '.join(known)}" if level and not near else ""
        return f"{key}: no such key{f' in {level}' if level else ''}{near or listed or f'; see ebm {verb} --help'}"
    detail = f" ({first_line(cause)})" if cause is not None and str(cause) else ""
    return f"{first_line(error)}{detail}" if message.strip() else first_line(cause or error)


def _siblings(cause: BaseException | None) -> list[str]:
    """The keys beside the one that was not found."""
    parent = getattr(cause, "parent_node", None)
    return (
        sorted(str(key) for key in parent if key not in ("hydra", "_target_")) if isinstance(parent, DictConfig) else []
    )
