"""The record of a run, read from its directory alone: state, choices, config and results.

A run is a directory with a `status.json`. Only text files are read: neither torch nor Hydra is imported.
"""

import json
import os
import socket
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ebm_cli.runs.added_keys import fill
from ebm_cli.runs.labels import labels
from ebm_cli.runs.status import EARLY
from ebm_cli.runs.stored_config import CONFIG, read_plain

EVALUATIONS = "evaluate"
"""Folder in a run directory with the results of `ebm evaluate`, one sub-folder each, named by the time."""


class Record(NamedTuple):
    """One run.

    Attributes:
        path: run directory.
        state: running, finished, interrupted, diverged, failed; lost (running, but its process is gone), or broken
            (its files cannot be read).
        step, steps: reached and planned; None if unknown.
        started: seconds since 1970.
        reason: why the run ended; empty if unknown.
        hydra_choices: group → option, as Hydra recorded them; the class, where another than the option's was named.
        config: resolved, with missing keys filled; empty for a run that ended before it was written.
        results: of the newest evaluation, else of the end of training; `cost/…` are always those of training. Empty if
            there are none.
        problem: which files could not be read; empty if all could.
        versions: of the software that the result depends on, and the commit of the folder that the run started in.
        evaluated: step of the weights that the results are of; None if unknown, and for those of a later evaluation.
    """

    path: Path
    state: str
    step: int | None
    steps: int | None
    started: float
    reason: str
    hydra_choices: dict[str, str]
    config: dict[str, Any]
    results: dict[str, Any]
    problem: str
    versions: dict[str, str]
    evaluated: int | None = None

    @property
    def options(self) -> dict[str, str]:
        """Place of a group in the config → its option, without Hydra's own: `eval.sampler` for sampler@eval.sampler."""
        own = {group: option for group, option in self.hydra_choices.items() if not group.startswith("hydra/")}
        return {group.partition("@")[2] or group: option for group, option in own.items()}

    @property
    def outcome(self) -> str:
        """The state in words: a run that a search has interrupted was stopped early."""
        return EARLY if self.state == "interrupted" and self.reason.startswith(EARLY) else self.state

    def get(self, key: str) -> Any:
        """Option of a group, or value of a config key by its dotted name; None if the run has neither."""
        if key in self.options:
            return self.options[key]
        node: Any = self.config
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                return None
            node = node[part]
        return node


def find(root: Path) -> list[Record]:
    """Find the runs under `root`, oldest first."""
    # Unlike Path.rglob, it passes over a folder that is deleted meanwhile.
    found = (read(Path(folder)) for folder, _, files in os.walk(root) if "status.json" in files)
    return sorted(found, key=lambda record: (record.started, record.path))


def read(run: Path) -> Record:
    """Read one run. Missing or damaged files are named in the record; nothing is raised."""
    problems: list[str] = []
    status = _object(run / "status.json", problems)
    state = str(status.get("state", "?"))
    if state == "running" and _is_gone(status):
        state = "lost"
    results = _results(run, problems)
    config = _config(run)
    return Record(
        path=run,
        state="broken" if problems else state,
        step=_whole(status.get("step")),
        steps=_whole(status.get("steps")),
        started=_seconds(status.get("started"), run),
        reason=str(status.get("reason") or ""),
        hydra_choices=_choices(run, config),
        config=config,
        results=results,
        problem="; ".join(problems),
        versions=_versions(status),
        evaluated=None if _evaluations(run) else _whole(status.get("evaluated")),
    )


def _results(run: Path, problems: list[str]) -> dict[str, Any]:
    trained = run / "results.json"
    results = dict(_object(trained, problems)) if trained.exists() else {}
    evaluations = _evaluations(run)
    if not evaluations:
        return results
    newest = dict(_object(evaluations[-1], problems))
    return newest | {key: value for key, value in results.items() if key.startswith("cost/")}


def _evaluations(run: Path) -> list[Path]:
    return sorted((run / EVALUATIONS).glob("*/results.json"), key=lambda path: path.parent.name)


def _object(path: Path, problems: list[str]) -> Mapping[str, Any]:
    """JSON object in a file; empty, and added to the problems, if there is none."""
    try:
        found = json.loads(_text(path))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        problems.append(f"{path.name} cannot be read")
        return {}
    return found


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no file")  # reading a pipe would block
    return path.read_text(encoding="utf-8")


def _yaml(path: Path) -> Any:
    """Contents of a YAML file; None if it is missing, as in a run that was killed early, or damaged."""
    try:
        return read_plain(_text(path))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _choices(run: Path, config: Mapping[str, Any]) -> dict[str, str]:
    try:
        return labels(_yaml(run / ".hydra" / "hydra.yaml")["hydra"]["runtime"], config)
    except (LookupError, TypeError, AttributeError):
        return {}


def _config(run: Path) -> dict[str, Any]:
    config = _yaml(run / CONFIG)
    return fill({str(key): value for key, value in config.items()}) if isinstance(config, dict) else {}


def _is_gone(status: Mapping[str, Any]) -> bool:
    """True if the run's process is known to have ended; processes of another host are unknown."""
    pid = status.get("pid")
    if not isinstance(pid, int) or status.get("host") != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _versions(status: Mapping[str, Any]) -> dict[str, str]:
    stored = status.get("versions")
    found = {str(name): str(version) for name, version in stored.items()} if isinstance(stored, dict) else {}
    return found | ({"git": str(status["git"])} if status.get("git") else {})


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(started: Any, run: Path) -> float:
    """Start of the run in seconds since 1970, from ISO 8601 or seconds; the time of its directory if unknown."""
    if isinstance(started, int | float):
        return float(started)
    try:
        return datetime.fromisoformat(str(started)).timestamp()
    except ValueError:
        return run.stat().st_mtime


def jobs_of(sweep: Path) -> list[Path]:
    """Directories of a sweep's jobs, in the order of their numbers, including jobs that failed early."""
    made = [path.parent for path in sweep.rglob(".hydra")]
    outermost = [path for path in made if not any(other in path.parents for other in made)]
    return sorted(outermost, key=lambda path: (len(path.name), path.name))
