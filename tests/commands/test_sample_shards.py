"""`ebm sample` to files of a part each: the same samples with bounded memory, continued after a kill."""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor

from ebm_cli.commands import sample
from ebm_cli.errors import UserError
from ebm_cli.runs.chains import Drawn, draw
from ebm_cli.runs.sampled_model import model_to_sample
from ebm_cli.runs.shards import Shards
from ebm_cli.runs.stream import identity, stream
from tests.support import REPO, Ebm

WORDS = ("energy=quadratic", "shape=2", "sampler=underdamped", "n_chains=8", "burn_in=3", "thin=1", "threads=1")
WORDS += ("n_samples=1_000", "compile=never", "shards=npz", "shard_samples=400")
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def cfg() -> DictConfig:
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        return compose("sample", list(WORDS))


def streamed(cfg: DictConfig, path: Path, kind: str = "npz") -> Drawn:
    path.mkdir(exist_ok=True)
    model = model_to_sample(cfg)
    return stream(cfg, model, Shards(path, kind, identity(cfg, model), cfg.n_samples, {"n_chains": 8}))


def arrays(path: Path) -> list[dict[str, Array]]:
    found = []
    for file in sorted((path / "samples").glob("*.npz")):
        with np.load(file) as opened:
            found.append(dict(opened))
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Name → bytes of the files of a stream."""
    return {path.name: path.read_bytes() for path in sorted((folder / "samples").iterdir())}


def manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    return found


def test_files_hold_the_samples_of_one_file(cfg: DictConfig, tmp_path: Path) -> None:
    """Bit for bit, with the same results; each file has whole draws of all chains."""
    whole, many = draw(cfg, model_to_sample(cfg)), streamed(cfg, tmp_path)
    parts = arrays(tmp_path)
    assert [len(part["x"]) for part in parts] == [400, 400, 200]
    assert np.array_equal(np.concatenate([part["x"] for part in parts]), whole.x.flatten(0, 1).numpy())
    assert np.array_equal(np.concatenate([part["energy"] for part in parts]), whole.energy.flatten().numpy())
    assert many.measured.values == pytest.approx(whole.measured.values)


def test_manifest_counts_the_files(cfg: DictConfig, tmp_path: Path) -> None:
    streamed(cfg, tmp_path)
    found = manifest(tmp_path)
    assert (found["complete"], found["n_samples"], found["n_written"], found["n_chains"]) == (True, 1000, 1000, 8)
    assert [(file["n"], file["first"]) for file in found["files"]] == [(400, 0), (400, 400), (200, 800)]
    for file in found["files"]:
        assert hashlib.sha256((tmp_path / file["name"]).read_bytes()).hexdigest() == file["sha256"]


@pytest.mark.parametrize("method", ["write", "save"])
def test_kill_at_a_file_is_continued_bit_for_bit(
    cfg: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Killed before the second file is written, or after it and before its state is."""
    whole = streamed(cfg, tmp_path / "whole")
    right, calls = getattr(Shards, method), []

    def killed(shards: Shards, *args: Any) -> None:
        calls.append(method)
        if len(calls) == 2:
            raise KeyboardInterrupt
        right(shards, *args)

    with monkeypatch.context() as patched:
        patched.setattr(Shards, method, killed)
        with pytest.raises(KeyboardInterrupt):
            streamed(cfg, tmp_path / "killed")
    assert not manifest(tmp_path / "killed")["complete"]
    again = streamed(cfg, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert again.measured == whole.measured
    assert streamed(cfg, tmp_path / "killed").measured == whole.measured


def test_files_of_another_config_are_refused(cfg: DictConfig, tmp_path: Path) -> None:
    streamed(cfg, tmp_path)
    other = cfg.copy()
    other.seed = 1
    with pytest.raises(UserError, match="holds samples of another config"):
        streamed(other, tmp_path)
    (tmp_path / "samples" / "00001.npz").unlink()
    with pytest.raises(UserError, match="missing or changed"):
        streamed(cfg, tmp_path)
    (tmp_path / "chains.pt").write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        streamed(cfg, tmp_path)


def test_no_more_samples_are_held_than_a_file_has(
    cfg: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are asked for; `test_draw_counts` bounds what else is kept."""
    right: Callable[..., None] = Shards.write
    held: list[int] = []

    def counted(shards: Shards, x: Tensor, energy: Tensor, row: Tensor | None) -> None:
        held.append(len(x))
        right(shards, x, energy, row)

    monkeypatch.setattr(Shards, "write", counted)
    streamed(cfg, tmp_path)
    assert (max(held), sum(held)) == (400, 1000)


def test_parquet_has_a_column_a_coordinate(cfg: DictConfig, tmp_path: Path) -> None:
    streamed(cfg, tmp_path / "npz")
    streamed(cfg, tmp_path / "parquet", "parquet")
    table = pd.read_parquet(tmp_path / "parquet" / "samples")
    assert list(table) == ["x0", "x1", "energy"]
    x = np.concatenate([part["x"] for part in arrays(tmp_path / "npz")])
    assert np.array_equal(table[["x0", "x1"]].to_numpy(), x)


def test_command_streams_and_names_lost_samples(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is typed with underscores; samples that are not finite are missing from a file whose name says so."""
    monkeypatch.setattr(sample, "samples_figure", lambda x, data, names=None: None)
    monkeypatch.setattr(sample, "save", lambda figure, path: None)
    words = (*WORDS, "hydra.run.dir=lost", "sampler=langevin")
    ran = ebm("sample", *words, "sampler.step_size=50")
    assert (ran.code, "of 1,000 samples or their energies are not finite" in ran.err) == (4, True)
    assert manifest(tmp_path / "lost")["files"][0]["name"] == "samples/00000.partial.npz"
    ran = ebm("sample", *words, "shards=none")
    assert (ran.code, len(ran.err.splitlines()), "hydra.run.dir=DIR" in ran.err) == (1, 1, True)


def test_samples_without_room_are_refused_at_once(cfg: DictConfig, tmp_path: Path) -> None:
    """10¹³ samples of two coordinates and an energy, four bytes each; 1,000 fit, in a folder still to be made."""
    many = cfg.copy()
    many.n_samples = 10**13
    with pytest.raises(UserError, match=r"n_samples=10000000000000: the samples take 120\.0 TB, and .* of room"):
        sample.reserve(many, tmp_path / "new", lock=True)
    sample.reserve(cfg, tmp_path / "new", lock=True)
    many.shards = "none"
    with pytest.raises(UserError, match=r"n_samples=10000000000000 with shards=none: 120\.0 TB at once, and one array"):
        sample.validate(many)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_says_how_to_continue(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(shards: Shards, *args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Shards, "write", full)
    ran = ebm("sample", *WORDS, "hydra.run.dir=full")
    assert (ran.code, ran.err.count("ebm: ")) == (1, 1)
    assert "full: no room to write in it" in ran.err
    assert "the same command with hydra.run.dir=full continues" in ran.err
