"""The jobs of a sweep of `ebm evaluate` or `ebm sample` in one table at its end."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebm_cli.comparison.ranking import differing, print_tables, settings_of_jobs
from ebm_cli.evaluation.result_list import CHAINS_IN_BRIEF
from ebm_cli.evaluation.result_registry import describe, verdict
from ebm_cli.evaluation.values import format_value, number
from ebm_cli.reporting.console import duration, relative_path
from ebm_cli.reporting.narrow import Fitting
from ebm_cli.runs.overrides import read_overrides
from ebm_cli.runs.record import Record
from ebm_cli.runs.record import read as read_record
from ebm_cli.runs.stored_config import read_plain, run_dir

PLACES = ("samples.npz", "samples")
"""Files or folders of samples in the directory of a job."""


def print_evaluations(runs: Sequence[Path], console: Console) -> None:
    """Print the evaluations of a sweep, best first on each data set; nothing for a single one.

    Args:
        runs: directories of its jobs; those without results are left out.
        console: where to print.
    """
    records = [_evaluated(run, values) for run in runs if (values := _results(run))]
    if len(records) > 1:
        typed = {record.path: read_overrides(record.path) for record in records}
        console.print()
        print_tables(records, typed, differing(list(typed.values())), console, trained=False)


def print_samples(runs: Sequence[Path], console: Console) -> None:
    """Print the jobs of a sweep that sampled: numbers, what the chains say, and where the samples are."""
    found = [(run, values) for run in runs if (values := _results(run))]
    if len(found) < 2:
        return
    typed = {run: read_overrides(run) for run, _ in found}
    settings = settings_of_jobs(typed, differing(list(typed.values())))
    measured = [key for key in CHAINS_IN_BRIEF if any(number(values, key) is not None for _, values in found)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("job", "settings", "draws", *(describe(key).label for key in measured), "took", "samples"):
        table.add_column(name, justify="left" if name in ("settings", "samples") else "right", no_wrap=True)
    for run, values in found:
        seconds = number(values, "cost/seconds")
        place = next((run / name for name in PLACES if (run / name).exists()), run)
        table.add_row(
            run.name,
            Text(settings[run]),
            format_value(values.get("sampler/n_draws")),
            *(_measured(values, key) for key in measured),
            "" if seconds is None else duration(seconds),
            Text(relative_path(place)),
        )
    console.print()
    console.print(Fitting(table))


def _measured(values: dict[str, Any], key: str) -> str:
    """A number of the chains, with its word where it is not good."""
    value, found = format_value(number(values, key)), verdict(key, values)
    return f"{value} {found.word}" if found.good is False else value


def _results(run: Path) -> dict[str, Any]:
    """The results of a job; empty if it has none."""
    try:
        found = json.loads((run / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _evaluated(job: Path, results: dict[str, Any]) -> Record:
    """The record of the run that a job has evaluated, with the job's directory and results.

    Where that run is gone, or only its checkpoint is left, its data set is unknown.
    """
    try:
        checkpoint = str(read_plain((job / ".hydra" / "config.yaml").read_text(encoding="utf-8"))["checkpoint"])
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        checkpoint = ""
    run = run_dir(checkpoint) if checkpoint else None
    # Relative to the folder in which the sweep was typed, which is the present one.
    return read_record(run or job)._replace(path=job, state="finished", results=results)
