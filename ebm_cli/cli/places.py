"""The directory that a command is about to write to: its own, and one that can be made."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from ebm_cli.errors import UserError, full_disk
from ebm_cli.runs.status import read_status
from ebm_cli.runs.stored_config import read_plain

HYDRA, LAST_OF_HYDRA = ".hydra", "overrides.yaml"
"""The folder that Hydra writes before anything else, and the last of its files: without it, the command was killed."""
OURS = (
    *("status.json", "results.json", "config.yaml", "metrics.jsonl", "checkpoints", "figures", HYDRA),
    *("samples.npz", "samples.png", "evaluation.png", "density.csv", "density.npz", "claims.json", "numbers.json"),
    *("compare.csv", "compare.tex", "compare.html", "manifest.json", "chains.pt"),
)
"""Names of what commands write."""

_WORDS = {
    errno.EACCES: "there is no permission to write there",
    errno.EPERM: "there is no permission to write there",
    errno.EROFS: "the file system is read-only",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOENT: "the file system takes no directory there",
    errno.ELOOP: "its symbolic links form a loop",
}


def require_own_place(path: Path, verb: str) -> None:
    """Refuse a directory that holds what this verb did not write, and would overwrite.

    Args:
        path: directory of the command, which need not exist.
        verb: the verb.

    Raises:
        UserError: it holds a file of one of our names, and is not the directory of an earlier command of this verb.
    """
    found = [name for name in OURS if os.path.lexists(path / name)]
    if not found or (found == [HYDRA] and not (path / HYDRA / LAST_OF_HYDRA).exists()):
        return
    writer = _writer(path)
    if writer != verb:
        whose = f"which ebm {verb} did not write" if writer is None else f"of ebm {writer}"
        raise UserError(f"{path}: holds {found[0]}, {whose}; name another directory with hydra.run.dir=DIR")


def _writer(path: Path) -> str | None:
    """The verb that wrote a directory; None if none did."""
    status = read_status(path)
    if status is not None and "state" in status and "step" in status:
        return "train"
    try:
        return str(read_plain((path / HYDRA / "hydra.yaml").read_text(encoding="utf-8"))["hydra"]["job"]["config_name"])
    except (OSError, ValueError, RecursionError, TypeError, KeyError, yaml.YAMLError):
        return None


@contextmanager
def explained_place(path: Path, key: str = "hydra.run.dir") -> Iterator[None]:
    """Raise, from an error of the system in the block, one sentence on the directory that cannot be made or written.

    Args:
        path: the directory.
        key: that names another one.
    """
    try:
        yield
    except OSError as error:
        if full_disk(error) is not None:
            raise
        raise UserError(f"{path}: {_reason(error, path)}; name another directory with {key}=DIR") from error


def _reason(error: OSError, path: Path) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return _WORDS[error.errno]
    in_the_way = next((part for part in (path, *path.parents) if os.path.lexists(part)), path)
    if not in_the_way.is_dir():
        what = "is a file" if in_the_way.exists() else "is a broken link"
        return what if in_the_way == path else f"{in_the_way} {what}"
    return _WORDS.get(error.errno or 0) or f"no directory can be made there ({error.strerror})"


def require_writable(path: Path) -> None:
    """Make a directory, and a file in it for a moment.

    Raises:
        OSError: it cannot be made, or not be written to.
    """
    path.mkdir(parents=True, exist_ok=True)
    # A process that is killed here leaves it, with a name that `remove_leftovers` knows.
    probe = path / f".probe.{os.getpid()}.tmp"
    try:
        probe.touch()
    finally:
        probe.unlink(missing_ok=True)
