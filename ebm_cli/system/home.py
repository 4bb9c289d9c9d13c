"""Paths as they are typed, such as those that begin with ~."""

from pathlib import Path


def expanded(path: str) -> Path:
    """The path with the home folder in place of ~; as it is where ~name is no user, for which pathlib raises."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def is_there(path: str) -> bool:
    """Return whether a path exists; False, and no error, for text that is no path: too long, or with a zero byte."""
    try:
        return expanded(path).exists()
    except OSError:
        return False
