"""Paths that begin with ~."""

from pathlib import Path


def expanded(path: str) -> Path:
    """The path with the home folder in place of ~; as it is where ~name is no user, for which pathlib raises."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
