"""Checkpoints: one file that holds all of a run's state, written whole or not at all, read only when it is sound.

A file is written under a temporary name beside its target, flushed to the disk, and renamed (`atomic`): a kill at any
moment leaves the old file or the new one. It is read with the checksums of its zip archive verified first (torch.load
alone takes most flipped bits for good), and with `weights_only=True`: nothing in it is executed.
"""

import zipfile
from pathlib import Path
from typing import Any, Literal

import torch

from ebm_cli.errors import UserError, first_line, full_disk
from ebm_cli.runs.stored_config import fill
from ebm_cli.system.files import replacing

FORMAT = 1
Which = Literal["best", "last"]
FOLDER = "checkpoints"
PARTS = {"config": dict, "step": int, "energy": dict, "ema": dict, "method": dict, "dataset": dict, "versions": dict}
"""What every checkpoint has, and of what kind."""
DOS_FOLDER = 0x10
"""The bit of a zip archive's entry that says that it is a folder."""
DEEPEST = 50
"""Levels of a stored config; it may hold itself, and would then have no end."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`, atomically and durably.

    Raises:
        OSError: the disk is full, or the folder cannot be written; an earlier file at `path` is intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(path, durable=True) as temporary, temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
    except RuntimeError as error:
        # What torch makes of a full disk: a position in the file that it did not expect.
        raise full_disk(error) or error from None


def link(source: Path, target: Path) -> None:
    """Give the file a second name, replacing what had that name, atomically; a copy where links are not to be had."""
    with replacing(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            temporary.hardlink_to(source)
        except OSError:
            temporary.write_bytes(source.read_bytes())


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
            # torch.save packs nothing: what unpacks was made by somebody else, to fill a memory.
            packed = sum(member.file_size for member in archive.infolist()) > path.stat().st_size
            # To torch a folder's entry is no data, of which it leaves the tensor unread: a bit without a checksum.
            folder = next((member.filename for member in archive.infolist() if member.external_attr & DOS_FOLDER), None)
            damaged = None if packed else folder or archive.testzip()
    except Exception as error:  # a turned bit may mean anything: another packing, a password, a size
        raise UserError(f"checkpoint={path}: not a checkpoint, or a truncated one ({error})") from error
    if packed:
        raise UserError(f"checkpoint={path}: not a checkpoint of ebm (it unpacks to more than its file holds)")
    if damaged is not None:
        raise UserError(f"checkpoint={path}: damaged, the checksum of {damaged} does not match")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for what is no plain checkpoint, and all mean the same here
        reason = first_line(error)
        raise UserError(f"checkpoint={path}: not a checkpoint of ebm ({reason[:120]})") from error
    if not isinstance(state, dict) or "format" not in state:
        raise UserError(f"checkpoint={path}: not a checkpoint of ebm")
    if type(state["format"]) is not int or state["format"] != FORMAT:
        found = str(state["format"])[:40]
        raise UserError(f"checkpoint={path}: written by a later version (format {found}); this one reads {FORMAT}")
    missing = [key for key in PARTS if key not in state]
    if missing:
        raise UserError(f"checkpoint={path}: incomplete, it has no {', '.join(missing)}")
    wrong = [key for key, kind in PARTS.items() if not isinstance(state[key], kind) or isinstance(state[key], bool)]
    if wrong or not _is_plain(state["config"]):
        raise UserError(f"checkpoint={path}: not a checkpoint of ebm (of another kind: {', '.join(wrong) or 'config'})")
    return state | {"config": fill(state["config"])}


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a config is one: texts, numbers, lists and mappings, not without end."""
    if isinstance(value, dict | list) and depth < DEEPEST:
        inner = value.values() if isinstance(value, dict) else value
        return all(_is_plain(item, depth + 1) for item in inner) and (
            isinstance(value, list) or all(isinstance(key, str | int) for key in value)
        )
    return value is None or isinstance(value, bool | int | float | str)


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
