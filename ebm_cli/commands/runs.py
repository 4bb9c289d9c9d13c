"""`ebm runs`: every run under a folder, with its state, main result and age.

A run is a directory with a `status.json`. One that says "running" while its process is gone is shown as lost.
"""

import json
import math
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebm_cli.errors import UserError

STYLES = {"running": "cyan", "finished": "green", "interrupted": "yellow", "diverged": "red", "failed": "red"}
MAIN_RESULTS = ("eval/kl", "eval/nll")
"""What a run is judged by where its `monitor` is not among its results: the first of these that is."""


class Row(NamedTuple):
    """One line of the table. Times are seconds since 1970; `problem` says what of the run could not be read."""

    path: Path
    state: str
    method: str
    dataset: str
    steps: str
    result: str
    started: float
    problem: str


def runs(cfg: DictConfig) -> None:
    """Print the table of all runs under `cfg.root`, newest last."""
    root = Path(cfg.root)
    if not root.is_dir():
        raise UserError(f"root={root}: no such directory")
    rows = find(root)
    if not rows:
        print(f"no runs under {root}")
        return
    # A pipe or a log has no width to fit into: there, no path is cut.
    console = Console() if Console().is_terminal else Console(width=240)
    console.print(table(rows, now=datetime.now(UTC).timestamp()))


def find(root: Path) -> list[Row]:
    """The runs under `root`, oldest first."""
    return sorted((read(path.parent) for path in root.rglob("status.json")), key=lambda row: (row.started, row.path))


def read(run: Path) -> Row:
    """One run's line. What is missing or damaged is said in it; nothing is raised."""
    problems: list[str] = []
    status = _object(run / "status.json", problems)
    results = _object(run / "results.json", problems) if (run / "results.json").exists() else {}
    chosen = _choices(run)
    state = str(status.get("state", "?"))
    if state == "running" and _is_gone(status):
        state = "lost"
    step, steps = status.get("step", "?"), status.get("steps", "?")
    return Row(
        path=run,
        state=state if not problems else "broken",
        method=chosen.get("method", "?"),
        dataset=chosen.get("dataset", "?"),
        steps=f"{step}/{steps}",
        result=_main_result(results, chosen.get("monitor")),
        started=_seconds(status.get("started"), run),
        problem="; ".join(problems),
    )


def table(rows: list[Row], now: float) -> Table:
    """The runs as a table; `now` in seconds since 1970."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name, side in (("state", "left"), ("method", "left"), ("dataset", "left"), ("step", "right")):
        shown.add_column(name, justify="right" if side == "right" else "left", no_wrap=True)
    shown.add_column("result", no_wrap=True)
    shown.add_column("age", justify="right", no_wrap=True)
    shown.add_column("path", overflow="fold")
    for row in rows:
        state = Text(row.state, style=STYLES.get(row.state, "magenta"))
        where = Text(str(row.path) + (f"  ({row.problem})" if row.problem else ""))
        shown.add_row(state, row.method, row.dataset, row.steps, row.result, age(now - row.started), where)
    return shown


def age(seconds: float) -> str:
    """A duration in its largest whole unit: 42s, 5m, 3h, 12d."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(int(seconds), 0)}s"


def _object(path: Path, problems: list[str]) -> Mapping[str, Any]:
    """The JSON object in a file; empty, with a note, where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        problems.append(f"{path.name} cannot be read")
        return {}
    return found


def _choices(run: Path) -> dict[str, str]:
    """The options that were chosen, by group, as Hydra noted them; and the key `monitor`."""
    found: dict[str, str] = {}
    try:
        noted = yaml.safe_load((run / ".hydra" / "hydra.yaml").read_text(encoding="utf-8"))
        found |= {str(group): str(option) for group, option in noted["hydra"]["runtime"]["choices"].items()}
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        found["monitor"] = str(config["monitor"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        pass  # a run that was killed early has none of these, and its line says "?"
    return found


def _main_result(results: Mapping[str, Any], monitor: str | None) -> str:
    for name in (monitor, *MAIN_RESULTS):
        value = results.get(name) if name else None
        if isinstance(value, int | float) and math.isfinite(value):
            return f"{name} {value:.4g}"
    return ""


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


def _seconds(started: Any, run: Path) -> float:
    """When the run began: ISO 8601 or seconds since 1970; the directory's own time where it does not say."""
    if isinstance(started, int | float):
        return float(started)
    try:
        return datetime.fromisoformat(str(started)).timestamp()
    except ValueError:
        return run.stat().st_mtime
