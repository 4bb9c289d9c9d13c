"""Files that are written whole or not at all.

What is written goes to a temporary name beside its target, `.NAME.PID.tmp`, which then takes the target's place:
whoever reads sees the old file or the new one, whenever the writer is killed and however full the disk is.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY = re.compile(r"\..+\.\d+\.tmp|metrics\.jsonl\.tmp")


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A name to write to; at the end of the block the file there becomes `path`, and after an error it is gone.

    Args:
        path: the target, in a folder that exists.
        durable: whether the new file must also outlive a power failure, at the cost of two waits for the disk.

    Raises:
        OSError: the disk is full, or the folder cannot be written; an earlier file at `path` is intact.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        # The rename itself is in the directory, which has its own buffer.
        _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed; of a folder that no other process writes to."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
