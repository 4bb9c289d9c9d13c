"""The files of a streamed sample: samples/00000.npz, 00001.npz, …, or the same as .parquet; and their manifest.

    samples/NUMBER.npz      the arrays of samples.npz (`sample_files`) for a part of the samples; the files in the order
                            of their names are all of them
    manifest.json           counts, units and checksums of the files; `complete` says whether all are there
    chains.pt               the state of the chains after the last file, from which the command continues

Each file is written under another name first and then renamed, and the state after it: a kill at any time leaves whole
files and a state that belongs to them. A file that the state does not count is written again, with the same bytes.
"""

import hashlib
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from ebm_cli.errors import UserError
from ebm_cli.evaluation.coordinate_summary import coordinate_names
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.sample_files import finite_arrays
from ebm_cli.system.files import free_bytes, remove_leftovers, replacing, write_json
from ebm_cli.system.memory import format_bytes, max_array_bytes

FOLDER, MANIFEST, STATE = "samples", "manifest.json", "chains.pt"
FORMAT = 1


MANY = 1_000_000
"""Samples above which `shards=auto` streams."""


def streams(cfg: DictConfig) -> bool:
    """True if the samples are written to files of a part each while the chains run, and not to one file at the end."""
    return kind_of(cfg) != "none"


def kind_of(cfg: DictConfig) -> str:
    """The files that `shards` asks for: none, npz or parquet; auto is npz above a million samples, else none."""
    if cfg.shards != "auto":
        return str(cfg.shards)
    return "npz" if cfg.n_samples > MANY else "none"


def require_memory(n_samples: int, like: Tensor) -> None:
    """Refuse more samples in one file than the memory holds.

    Args:
        n_samples: of the file.
        like: a tensor of the shape and dtype of one sample.

    Raises:
        UserError: they do not fit.
    """
    needed, most = _bytes_of(n_samples, like), max_array_bytes()
    if needed > most:
        raise UserError(
            f"n_samples={n_samples} with shards=none: {format_bytes(needed)} at once, and one array may have "
            f"{format_bytes(most)} here; shards=npz writes files of a part each"
        )


def require_room(path: Path, n_samples: int, like: Tensor) -> None:
    """Refuse more samples than the disk has room for; what an earlier command has written there counts as room.

    Args:
        path: directory of the files, which need not exist.
        n_samples: of all files together.
        like: a tensor of the shape and dtype of one sample.

    Raises:
        UserError: they do not fit.
    """
    needed = _bytes_of(n_samples, like)
    written = sum(file.stat().st_size for file in (path / FOLDER).glob("*") if file.is_file())
    free = free_bytes(path) + written
    if needed > free:
        raise UserError(
            f"n_samples={n_samples}: the samples take {format_bytes(needed)}, and {path.parent} has "
            f"{format_bytes(free)} of room; take fewer, or name a directory of another disk with hydra.run.dir=DIR"
        )


def _bytes_of(n_samples: int, like: Tensor) -> int:
    """Bytes of so many samples, each with its energy."""
    return n_samples * (like.numel() + 1) * like.element_size()


def require_no_shards(path: Path) -> None:
    """Refuse to write one file of samples where the files of a stream are.

    Raises:
        UserError: they are there.
    """
    if (path / STATE).exists():
        raise UserError(f"{path}: holds samples in files of a part each; name another directory with hydra.run.dir=DIR")


class Shards:
    """Files of samples in a directory, with what continues them: a `runs.stream.Sink`.

    Args:
        path: the directory, which exists.
        kind: npz or parquet.
        identity: what the samples depend on; files of another identity are refused.
        n_samples: of all files together.
        facts: entries of the manifest that say what the samples are.
        names: of the columns of a parquet file; None is x0, x1, …

    Raises:
        UserError: the directory holds other files, or a damaged state.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        identity: str,
        n_samples: int,
        facts: Mapping[str, Any],
        names: Sequence[str] | None = None,
    ) -> None:
        self.path, self.kind, self.identity, self.n_samples = path, kind, identity, n_samples
        self._facts, self._names = dict(facts), names
        self.files: list[dict[str, Any]] = []
        self._state = self._stored()
        (path / FOLDER).mkdir(exist_ok=True)
        remove_leftovers(path)
        remove_leftovers(path / FOLDER)

    @property
    def n_written(self) -> int:
        """Samples that the files stand for, those that are not finite included."""
        return sum(file["n"] + file["n_not_finite"] for file in self.files)

    @property
    def shown(self) -> Path:
        """The path that a reader opens."""
        return self.path / FOLDER

    @property
    def is_whole(self) -> bool:
        """True if every sample so far is finite."""
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence on samples that are not finite, if there are any."""
        lost = sum(file["n_not_finite"] for file in self.files)
        if not lost:
            return ()
        named = [file["name"] for file in self.files if file["n_not_finite"]]
        first = f"{lost:,} of {self.n_written:,} samples or their energies are not finite"
        return (f"{first}: they are missing from {named[0]}{' and others' * (len(named) > 1)}.",)

    def state(self) -> dict[str, Any] | None:
        """The state of the chains after the last file; None where there is none."""
        return self._state

    def write(self, x: Tensor, energy: Tensor, row: Tensor | None) -> None:
        """Write the next file."""
        arrays, n_lost = finite_arrays(x, energy, row)
        partial = ".partial" * (n_lost > 0)
        name = f"{FOLDER}/{len(self.files):05d}{partial}.{self.kind}"
        with replacing(self.path / name, durable=True) as temporary, temporary.open("wb") as opened:
            if self.kind == "npz":
                np.savez(opened, **arrays)
            else:
                _write_parquet(opened, arrays, self._names)
        content = {"name": name, "n": len(arrays["x"]), "n_not_finite": n_lost, "first": self.n_written}
        self.files.append(content | _fingerprint(self.path / name))

    def save(self, state: dict[str, Any]) -> None:
        """Store the state after the last file, then the manifest."""
        held = {"identity": self.identity, "kind": self.kind, "files": self.files, "chains": state}
        checkpoints.save(self.path / STATE, held)
        self._write_manifest()

    def _write_manifest(self) -> None:
        counts = {"complete": self.n_written == self.n_samples, "n_samples": self.n_samples}
        counts |= {"n_written": self.n_written}
        write_json(self.path / MANIFEST, {"format": FORMAT, **counts, **self._facts, "files": self.files})

    def _stored(self) -> dict[str, Any] | None:
        file = self.path / STATE
        if not file.is_file():
            return None
        held = read_state(file)
        if held.get("identity") != self.identity:
            raise UserError(
                f"{self.path}: holds samples of another config or another model; to continue them, type their own "
                "command, or name another directory with hydra.run.dir=DIR"
            )
        self.files = list(held["files"])
        for written in self.files:
            name = self.path / written["name"]
            if not name.is_file() or name.stat().st_size != written["bytes"]:
                raise UserError(f"{name}: missing or changed; sample again in another directory: hydra.run.dir=DIR")
        self._write_manifest()  # a kill may have come between the state and the manifest
        chains: dict[str, Any] = held["chains"]
        return chains


def read_state(file: Path) -> dict[str, Any]:
    """Read what `Shards.save` stored.

    Raises:
        UserError: it is damaged.
    """
    try:
        checkpoints.verify_archive(file)
        found = torch.load(file, weights_only=True)
        if not {"identity", "kind", "files", "chains"} <= set(found):
            raise KeyError("an entry is missing")
    except Exception as error:  # torch raises many kinds of exceptions here
        raise UserError(f"{file}: damaged; sample again in another directory: hydra.run.dir=DIR") from error
    return dict(found)


def require_writer(kind: str) -> None:
    """Refuse a kind of files whose library is not installed.

    Raises:
        UserError: it is not.
    """
    if kind == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UserError("shards=parquet: needs pyarrow, which is not installed: pip install 'ebm-cli[parquet]'")


def _write_parquet(opened: Any, arrays: Mapping[str, Any], names: Sequence[str] | None) -> None:
    """One column a coordinate, then those of the other arrays that have a number for each sample."""
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    x = arrays["x"]
    labels = coordinate_names(x.shape[1:]) if names is None else names
    columns = dict(zip(labels, x.reshape(len(x), -1).T, strict=True))
    columns |= {name: array for name, array in arrays.items() if name != "x" and array.ndim}
    parquet.write_table(arrow.table({name: np.ascontiguousarray(column) for name, column in columns.items()}), opened)


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(opened, "sha256").hexdigest()}
