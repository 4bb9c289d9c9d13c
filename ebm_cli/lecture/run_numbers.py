"""Numbers of finished runs: their logs, and means over runs that share a setting."""

import json
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from ebm_cli.claims.base import result_values
from ebm_cli.evaluation.values import number
from ebm_cli.runs.record import Record


def by_setting(runs: Sequence[Record], *keys: str) -> dict[tuple[Any, ...], list[Record]]:
    """Values of config keys or groups → the runs that have them, numbers in ascending order."""
    found: dict[tuple[Any, ...], list[Record]] = {}
    for run in runs:
        found.setdefault(tuple(run.get(key) for key in keys), []).append(run)
    order = sorted(found, key=lambda values: [value if isinstance(value, int | float) else 0 for value in values])
    return {values: found[values] for values in order}


def mean_result(runs: Sequence[Record], key: str) -> float:
    """Mean of a result over runs.

    Raises:
        LookupError: a run has no such number.
    """
    return fmean(result_values(runs, key))


def curve(run: Record, *keys: str) -> list[tuple[float, ...]]:
    """(step, value of each key) of the lines of metrics.jsonl that have all of the keys; empty without such a file."""
    file = run.path / "metrics.jsonl"
    if not file.is_file():
        return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = []
    for line in lines:
        values = [number(line, key) for key in ("step", *keys)]
        if all(value is not None for value in values):
            found.append(tuple(value for value in values if value is not None))
    return found


def last_logged(run: Record, key: str) -> float:
    """Last value of a key in metrics.jsonl; not a number if it was never logged."""
    found = curve(run, key)
    return found[-1][1] if found else float("nan")
