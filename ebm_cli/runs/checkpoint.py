"""Checkpoint files: all of a run's state in one file, written atomically and verified before it is read.

A file is written under a temporary name beside its target, flushed to the disk, and renamed (`system.files`): a kill at
any moment leaves the old file or the new one. Before it is read, the checksums of its zip archive are verified, since
torch.load alone accepts most flipped bits; it is read with `weights_only=True`, so that nothing in it is executed.
"""

import zipfile
from pathlib import Path
from typing import Any, Literal

import torch

from ebm_cli.config.patterns import explain_missing
from ebm_cli.errors import UserError, first_line, full_disk
from ebm_cli.runs import record
from ebm_cli.runs.added_keys import fill
from ebm_cli.runs.parent_folder import explain_parent
from ebm_cli.system.files import replacing

FORMAT = 1
Which = Literal["auto", "best", "last"]
"""Checkpoint of a run directory; auto is the one that the run's own results are of (`locate`)."""
FOLDER = "checkpoints"
REQUIRED = {"config": dict, "step": int, "energy": dict, "ema": dict, "method": dict, "dataset": dict, "versions": dict}
"""Entries that every checkpoint has, and their types."""
FOLDER_BIT = 0x10
"""Bit in the attributes of a zip archive's entry that marks a folder."""
MAX_CONFIG_DEPTH = 50
"""Levels of a stored config, at most: untrusted input may contain itself."""


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
        # torch reports a full disk as an unexpected position in the file.
        raise full_disk(error) or error from None


def link(source: Path, target: Path) -> None:
    """Give a file a second name, atomically, replacing the file of that name; a copy if links are not available."""
    with replacing(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            temporary.hardlink_to(source)
        except OSError:
            temporary.write_bytes(source.read_bytes())


def locate(path: str | Path, which: Which = "auto") -> Path:
    """Checkpoint file of a path: the path itself, or best or last of a run directory.

    Args:
        path: run directory or checkpoint file.
        which: auto is best.pt of a run that has patience, since its results are of best.pt (`training.finish`), or will
            be; else last.pt. Whether it has is in the config in last.pt, which is that of its newest attempt.

    Raises:
        UserError: there is none.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"checkpoint={path}: {explain_missing(str(path))}")
    if path.is_file():
        return path
    folder = path / FOLDER
    if which == "auto":
        which = "best" if _has_patience(folder) and (folder / "best.pt").is_file() else "last"
    file = folder / f"{which}.pt"
    if file.is_file():
        return file
    there = sorted(p.name for p in folder.glob("*.pt")) if folder.is_dir() else []
    have = f"it has {', '.join(there)}" if there else _explain_none(path)
    raise UserError(f"checkpoint={path}: no {FOLDER}/{which}.pt in it; {have}")


def _explain_none(path: Path) -> str:
    """Say why a folder has no checkpoints: from the state of its run, if it is one's."""
    run = record.read(path)
    if run.state == "broken":
        return f"it has no checkpoints; {explain_parent(path, FOLDER) or 'is it a run directory?'}"
    if run.state == "running":
        return "its run is still running and has written none yet; wait for it, or train with checkpoint_every=N"
    reason = f" ({run.reason.splitlines()[0][:160]})" if run.reason else ""
    return f"its run has written none; its state is {run.outcome}{reason}"


def explain_auto(path: str | Path, which: Which, file: Path, step: int) -> str:
    """Sentence that names a checkpoint that `which=auto` chose other than the last; empty for any other choice.

    Args:
        path, which: as given to `locate`.
        file, step: what it found, and the step of its weights.
    """
    if which != "auto" or file == Path(path) or file.stem != "best":
        return ""
    return f"{path}: takes best.pt, of step {step:,}, since the run has patience"


def _has_patience(folder: Path) -> bool:
    """True if the config in the last checkpoint of a folder sets `patience`."""
    last = folder / "last.pt"
    return last.is_file() and read(last)["config"].get("patience") is not None


def read(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a state that `save` wrote; keys that its config lacks are filled (`added_keys.fill`).

    Raises:
        UserError: not a checkpoint of ebm, damaged, or of a later format.
    """
    verify_archive(path)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds of exceptions here
        reason = first_line(error)
        raise UserError(f"checkpoint={path}: not a checkpoint of ebm ({reason[:120]})") from error
    _verify_entries(path, state)
    return dict(state) | {"config": fill(state["config"])}


def verify_archive(path: Path) -> None:
    """Refuse a file that is no intact, uncompressed zip archive.

    Raises:
        UserError: it is not.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # torch.save does not compress: a compressed entry is untrusted input that could exhaust memory.
            is_compressed = sum(member.file_size for member in archive.infolist()) > path.stat().st_size
            # torch leaves the tensor of a folder's entry unread: this bit is not covered by a checksum.
            folder = next((member.filename for member in archive.infolist() if member.external_attr & FOLDER_BIT), None)
            damaged = None if is_compressed else folder or archive.testzip()
    except Exception as error:  # a flipped bit may mean another compression, a password, a size
        raise UserError(
            f"checkpoint={path}: not a checkpoint, or a truncated one; checkpoint= takes a run directory, or a file "
            f"{FOLDER}/*.pt of one"
        ) from error
    if is_compressed:
        raise UserError(f"checkpoint={path}: not a checkpoint of ebm (it unpacks to more than its file holds)")
    if damaged is not None:
        raise UserError(f"checkpoint={path}: damaged, the checksum of {damaged} does not match")


def _verify_entries(path: Path, state: Any) -> None:
    """Refuse a state that `save` cannot have written."""
    if not isinstance(state, dict) or "format" not in state:
        raise UserError(f"checkpoint={path}: not a checkpoint of ebm")
    if type(state["format"]) is not int or state["format"] != FORMAT:
        found = str(state["format"])[:40]
        raise UserError(f"checkpoint={path}: written by a later version (format {found}); this one reads {FORMAT}")
    missing = [key for key in REQUIRED if key not in state]
    if missing:
        raise UserError(f"checkpoint={path}: incomplete, it has no {', '.join(missing)}")
    wrong = [key for key, kind in REQUIRED.items() if not isinstance(state[key], kind) or isinstance(state[key], bool)]
    if wrong or not _is_plain(state["config"]):
        raise UserError(f"checkpoint={path}: not a checkpoint of ebm (wrong type: {', '.join(wrong) or 'config'})")


def _is_plain(value: Any, depth: int = 0) -> bool:
    """True if a config holds only texts, numbers, lists and mappings, nested to a bounded depth."""
    if isinstance(value, dict | list) and depth < MAX_CONFIG_DEPTH:
        inner = value.values() if isinstance(value, dict) else value
        return all(_is_plain(item, depth + 1) for item in inner) and (
            isinstance(value, list) or all(isinstance(key, str | int) for key in value)
        )
    return value is None or isinstance(value, bool | int | float | str)


def first_non_finite(state: Any, path: str = "") -> str | None:
    """Dotted name of the first tensor in a state that holds a non-finite number; None if all are finite."""
    if isinstance(state, torch.Tensor):
        return None if bool(torch.isfinite(state).all()) else path
    entries = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    names = (first_non_finite(value, f"{path}.{key}" if path else str(key)) for key, value in entries)
    return next((name for name in names if name is not None), None)


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """Step and path of the numbered checkpoints, in the order of their steps."""
    return sorted((int(path.stem.removeprefix("step-")), path) for path in folder.glob("step-*.pt"))


def prune(folder: Path, keep: int, newest: int | None = None) -> None:
    """Remove all but the newest `keep` of the numbered checkpoints up to step `newest`; best.pt and last.pt stay."""
    found = numbered(folder)
    kept = [path for step, path in found if newest is None or step <= newest]
    kept = kept[max(0, len(kept) - keep) :]
    for _, path in found:
        if path not in kept:
            path.unlink(missing_ok=True)
