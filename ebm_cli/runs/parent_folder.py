"""A folder of runs, such as that of a sweep or of replicas, or one inside a run, where that of one run was meant."""

from pathlib import Path

from ebm_cli.quoting import typed

SHOWN = 8
"""Runs that are named, at most."""


def explain_parent(path: Path, name: str) -> str:
    """Say which runs a folder holds or which run holds it, and what to type for one; empty if there is none.

    Args:
        path: of the folder.
        name: of a file or folder that is in the folder of every run.
    """
    runs = sorted(file.parent.name for file in path.glob(f"*/{name}"))
    if not runs and path.absolute().parent.joinpath(name).exists():
        return f"it is a folder of the run: type {typed('checkpoint', path.parent)}"
    if not runs:
        return ""
    shown = ", ".join(runs[:SHOWN]) + (", …" if len(runs) > SHOWN else "")
    count = f"{len(runs)} run{'s' * (len(runs) > 1)}"
    return f"it is the folder of {count} ({shown}): type {typed('checkpoint', path / runs[0])}"
