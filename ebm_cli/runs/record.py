"""What is known of a run from its directory alone: how it stands, what was chosen, what came out.

A run is a directory with a `status.json`. Everything here reads plain text: neither torch nor Hydra is imported.
"""

import json
import os
import socket
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ebm_cli.runs.stored_config import CONFIG, fill, read_plain

EVALUATIONS = "evaluate"
"""The folder of a run that holds its later evaluations, one sub-folder each, named by the time."""


class Record(NamedTuple):
    """One run.

    Attributes:
        path: its directory.
        state: running, finished, interrupted, diverged, failed; lost (it says running and its process is gone), or
            broken (its files cannot be read).
        step, steps: how far it is, of how many; None where it does not say.
        started: seconds since 1970.
        reason: why it ended, where it says so.
        choices: group → option, as Hydra noted them.
        config: the resolved config; empty for a run that ended before it was written.
        results: the newest evaluation's, else those of the end of training; `cost/…` are always training's. Empty where
            there are none.
        problem: what of the run could not be read; empty if nothing.
        versions: of what the result depends on, and the commit of the folder that the run was started in.
    """

    path: Path
    state: str
    step: int | None
    steps: int | None
    started: float
    reason: str
    choices: dict[str, str]
    config: dict[str, Any]
    results: dict[str, Any]
    problem: str
    versions: dict[str, str]

    @property
    def options(self) -> dict[str, str]:
        """Where a group lies in the config → its option, of the run's own: `eval.sampler` for sampler@eval.sampler."""
        own = {group: option for group, option in self.choices.items() if not group.startswith("hydra/")}
        return {group.partition("@")[2] or group: option for group, option in own.items()}

    def value(self, key: str) -> Any:
        """What a config key has in this run: the option for a group's name, else the config's value by dotted name.

        None where the run has no such key.
        """
        if key in self.options:
            return self.options[key]
        node: Any = self.config
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                return None
            node = node[part]
        return node


def find(root: Path) -> list[Record]:
    """The runs under `root`, oldest first."""
    found = (read(path.parent) for path in root.rglob("status.json"))
    return sorted(found, key=lambda record: (record.started, record.path))


def read(run: Path) -> Record:
    """One run. What is missing or damaged is said in it; nothing is raised."""
    problems: list[str] = []
    status = _object(run / "status.json", problems)
    state = str(status.get("state", "?"))
    if state == "running" and _is_gone(status):
        state = "lost"
    results = _results(run, problems)
    return Record(
        path=run,
        state="broken" if problems else state,
        step=_whole(status.get("step")),
        steps=_whole(status.get("steps")),
        started=_seconds(status.get("started"), run),
        reason=str(status.get("reason") or ""),
        choices=_choices(run),
        config=_config(run),
        results=results,
        problem="; ".join(problems),
        versions=_versions(status),
    )


def _results(run: Path, problems: list[str]) -> dict[str, Any]:
    trained = run / "results.json"
    results = dict(_object(trained, problems)) if trained.exists() else {}
    evaluations = sorted((run / EVALUATIONS).glob("*/results.json"), key=lambda path: path.parent.name)
    if not evaluations:
        return results
    newest = dict(_object(evaluations[-1], problems))
    return newest | {key: value for key, value in results.items() if key.startswith("cost/")}


def _object(path: Path, problems: list[str]) -> Mapping[str, Any]:
    """The JSON object in a file; empty, with a note, where there is none."""
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
        raise OSError(f"{path} is no file")  # a pipe would be waited for
    return path.read_text(encoding="utf-8")


def _yaml(path: Path) -> Any:
    """What a YAML file holds; None where it is missing or damaged: a run that was killed early has none."""
    try:
        return read_plain(_text(path))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _choices(run: Path) -> dict[str, str]:
    try:
        noted = _yaml(run / ".hydra" / "hydra.yaml")["hydra"]["runtime"]["choices"]
        return {str(group): str(option) for group, option in noted.items() if option is not None}
    except (LookupError, TypeError, AttributeError):
        return {}


def _config(run: Path) -> dict[str, Any]:
    config = _yaml(run / CONFIG)
    return fill({str(key): value for key, value in config.items()}) if isinstance(config, dict) else {}


def _is_gone(status: Mapping[str, Any]) -> bool:
    """Whether the run's process is known to be dead; another host's processes cannot be known."""
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
    noted = status.get("versions")
    found = {str(name): str(version) for name, version in noted.items()} if isinstance(noted, dict) else {}
    return found | ({"git": str(status["git"])} if status.get("git") else {})


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(started: Any, run: Path) -> float:
    """When the run began: ISO 8601 or seconds since 1970; the directory's own time where it does not say."""
    if isinstance(started, int | float):
        return float(started)
    try:
        return datetime.fromisoformat(str(started)).timestamp()
    except ValueError:
        return run.stat().st_mtime


def jobs_of(sweep: Path) -> list[Path]:
    """The directories of a sweep's jobs, in the order of their numbers; those of jobs that failed early, too."""
    made = [path.parent for path in sweep.rglob(".hydra")]
    outermost = [path for path in made if not any(other in path.parents for other in made)]
    return sorted(outermost, key=lambda path: (len(path.name), path.name))
