"""Overrides that were typed for a run, as Hydra records them; of a sweep, what differs between its jobs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from ebm_cli.evaluation.values import brief
from ebm_cli.runs.record import Record
from ebm_cli.runs.stored_config import read_plain

ELSEWHERE = frozenset({"method", "dataset", "seed", "checkpoint", "resume"})
"""Keys that have a column of their own, or that say nothing about the run."""


def read_overrides(run: Path) -> dict[str, str]:
    """Key → value of each override of a run, in their order; empty if there is no record of them."""
    try:
        words = read_plain((run / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    pairs = (str(word).partition("=") for word in (words if isinstance(words, list) else ()))
    return {key.lstrip("+~"): value for key, _, value in pairs}


def settings_by_run(records: Sequence[Record]) -> dict[Path, list[str]]:
    """Run → its overrides, `key=value`, without those of `ELSEWHERE`; of a job of a sweep only what differs there."""
    typed = {record.path: read_overrides(record.path) for record in records}
    sweeps: dict[Path, list[Mapping[str, str]]] = {}
    for path, overrides in typed.items():
        sweeps.setdefault(path.parent, []).append(overrides)
    found = {}
    for path, overrides in typed.items():
        siblings = sweeps[path.parent] if (path.parent / "multirun.yaml").exists() else []
        found[path] = [
            f"{key}={brief(value)}"
            for key, value in overrides.items()
            if key not in ELSEWHERE
            and not key.startswith("hydra")
            and (len(siblings) < 2 or any(other.get(key) != value for other in siblings))
        ]
    return found
