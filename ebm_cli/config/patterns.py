"""Patterns in place of paths, for a shell that did not expand them: `runs='sweep/*'`."""

import glob
from pathlib import Path

from ebm_cli.quoting import typed

STATUS, CHECKPOINT = "status.json", ".pt"
"""File in the folder of every run, and the suffix of a checkpoint."""
SHOWN = 8
"""Runs that are named, at most."""


def matches(word: str) -> list[Path]:
    """The paths that a word names or matches, in order; a path that exists is taken literally, even if a pattern."""
    # Path.glob takes no absolute pattern.
    found = [word] if Path(word).exists() else sorted(glob.glob(word, recursive=True))  # noqa: PTH207
    return [Path(path) for path in found]


def explain_nothing(word: str) -> str:
    """Why a word names no path: "matches nothing" of a pattern, else "no such directory"."""
    return "matches nothing" if glob.has_magic(word) else "no such directory"


def explain_pattern(word: str) -> str:
    """Say which runs a pattern matches where one run is needed, and what to type; empty for a word that is none."""
    if Path(word).exists() or not glob.has_magic(word):
        return ""
    runs = [path for path in matches(word) if path.suffix == CHECKPOINT or (path / STATUS).exists()]
    if not runs:
        return "the pattern matches no run"
    shown = ", ".join(map(str, runs[:SHOWN])) + (", …" if len(runs) > SHOWN else "")
    count = f"{len(runs)} run{'s' * (len(runs) > 1)}"
    return f"the pattern matches {count} ({shown}), and a path is needed: type {typed('checkpoint', runs[0])}"
