"""Patterns in place of paths, for a shell that did not expand them: `runs='sweep/*'`."""

import glob
from pathlib import Path

from ebm_cli.quoting import typed

STATUS, CHECKPOINT = "status.json", ".pt"
"""File in the folder of every run, and the suffix of a checkpoint."""
SHOWN = 8
"""Runs that are named, at most."""
DEPTH = 4
"""Levels below a pattern at which runs are sought: outputs/multirun/DAY/TIME/JOB is that many below outputs/*."""


def matches(word: str) -> list[Path]:
    """The paths that a word names or matches, in order; a path that exists is taken literally, even if a pattern."""
    # Path.glob takes no absolute pattern.
    found = [word] if Path(word).exists() else sorted(glob.glob(word, recursive=True))  # noqa: PTH207
    return [Path(path) for path in found]


def explain_nothing(word: str) -> str:
    """Why a word names no path: "matches nothing" of a pattern, else "no such directory"."""
    return "matches nothing" if glob.has_magic(word) else "no such directory"


def explain_missing(word: str) -> str:
    """Why a word that should name a run or a checkpoint names none, and what to type."""
    return explain_pattern(word) or "no such file or directory"


def explain_pattern(word: str) -> str:
    """Say which runs a pattern matches where one run is needed, and what to type; empty for a word that is none.

    Where it matches none, runs in the folders that it matches are found by a longer pattern.
    """
    if Path(word).exists() or not glob.has_magic(word):
        return ""
    if said := _explain_matches(word):
        return f"the pattern {said}"
    deeper = (word.rstrip("/") + "/*" * depth for depth in range(1, DEPTH + 1))
    found = ((pattern, said) for pattern in deeper if (said := _explain_matches(pattern)))
    pattern, said = next(found, ("", "ebm runs lists all runs"))
    return f"the pattern matches no run; {pattern}{' ' * bool(pattern)}{said}"


def _explain_matches(word: str) -> str:
    """The runs and checkpoints that a pattern matches, and what to type for one; empty if there is none.

    A run counts once, not for each of its checkpoints that the pattern matches, too.
    """
    found = matches(word)
    runs = [path for path in found if (path / STATUS).exists()]
    folders = set(runs)
    files = [path for path in found if path.suffix == CHECKPOINT and not folders.intersection(path.parents)]
    named = {"run": runs, "checkpoint": files}
    count = " and ".join(f"{len(them)} {name}{'s' * (len(them) > 1)}" for name, them in named.items() if them)
    if not count:
        return ""
    paths = sorted([*runs, *files])
    shown = ", ".join(map(str, paths[:SHOWN])) + (", …" if len(paths) > SHOWN else "")
    return f"matches {count} ({shown}), and a path is needed: type {typed('checkpoint', paths[0])}"
