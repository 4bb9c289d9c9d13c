"""Checkpoints: one file that holds all of a run's state, written whole or not at all, read only when it is sound.

A file is written under a temporary name beside its target, flushed to the disk, and renamed: a kill at any moment
leaves the old file or the new one. It is read with the checksums of its zip archive verified first (torch.load alone
takes most flipped bits for good), and with `weights_only=True`: nothing in it is executed.
"""

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import torch

from ebm_cli.errors import UserError

FORMAT = 1
Which = Literal["best", "last"]
FOLDER = "checkpoints"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`, atomically and durably.

    Raises:
        OSError: the disk is full, or the folder cannot be written; an earlier file at `path` is intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # The rename itself is in the directory, which has its own buffer.
        os.fsync(folder)
    finally:
        os.close(folder)


def link(source: Path, target: Path) -> None:
    """Give the file a second name, replacing what had that name, atomically; a copy where links are not to be had."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        temporary.write_bytes(source.read_bytes())
    temporary.replace(target)


def locate(path: str | Path, which: Which = "last") -> Path:
    """The checkpoint file that PATH means: itself, or a run directory's best or last.

    Raises:
        UserError: nothing is there.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"checkpoint={path}: no such file or directory")
    if path.is_file():
        return path
    folder = path / FOLDER
    file = folder / f"{which}.pt"
    if file.is_file():
        return file
    there = sorted(p.name for p in folder.glob("*.pt")) if folder.is_dir() else []
    have = f"it has {', '.join(there)}" if there else "it has no checkpoints; is it a run directory?"
    raise UserError(f"checkpoint={path}: no {FOLDER}/{which}.pt in it; {have}")


def read(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """The state that `save` wrote.

    Raises:
        UserError: not a checkpoint of ours, damaged, or of a later format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, ValueError) as error:
        raise UserError(f"checkpoint={path}: not a checkpoint, or a truncated one ({error})") from error
    if damaged is not None:
        raise UserError(f"checkpoint={path}: damaged, the checksum of {damaged} does not match")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for what is no plain checkpoint, and all mean the same here
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"checkpoint={path}: not a checkpoint of ebm ({reason[:120]})") from error
    if not isinstance(state, dict) or "format" not in state:
        raise UserError(f"checkpoint={path}: not a checkpoint of ebm")
    if not isinstance(state["format"], int) or state["format"] > FORMAT:
        raise UserError(
            f"checkpoint={path}: written by a later version (format {state['format']}); this one reads {FORMAT}"
        )
    missing = [key for key in ("config", "step", "energy", "ema", "method", "dataset", "versions") if key not in state]
    if missing:
        raise UserError(f"checkpoint={path}: incomplete, it has no {', '.join(missing)}")
    return state


def not_finite(state: Any, path: str = "") -> str | None:
    """The name of the first tensor in a state that holds a number that is not finite; None where all are sound."""
    if isinstance(state, torch.Tensor):
        return None if bool(torch.isfinite(state).all()) else path
    entries = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    names = (not_finite(value, f"{path}.{key}" if path else str(key)) for key, value in entries)
    return next((name for name in names if name is not None), None)


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` of the numbered checkpoints; best and last are names of their own."""
    numbered = sorted(folder.glob("step-*.pt"))
    for old in numbered[: max(0, len(numbered) - keep)]:
        old.unlink(missing_ok=True)
