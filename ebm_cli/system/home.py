"""Paths that begin with ~."""

from pathlib import Path


def expanded(path: str) -> Path:
    """The path with the home folder in place of ~; as it is where ~name names nobody, for which pathlib raises."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
