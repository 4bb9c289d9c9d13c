"""Snapshots of a model in TensorBoard: histograms of energies, grids of images, nearest training rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ebm_cli.runs.assemble import assemble, protocol_of
from ebm_cli.training.snapshots import Snapshots
from tests.support import TINY, Ebm, composed, differences, trained

DIGITS = [*TINY[1:], "dataset=digits", "energy=conv", "energy.width=4", "method=pcd", "method.buffer_size=64"]
DIGITS += ["method.k=2", "monitor=eval/fisher", "metrics=[samples]", "steps=4", "eval_every=2"]


def events_of(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run), size_guidance={"images": 0, "histograms": 0})
    events.Reload()
    return events


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pcd on digits."""
    from ebm_cli.cli.main import main

    folder = tmp_path_factory.mktemp("snapshots")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert main(["train", *DIGITS, "hydra.run.dir=run"]) == 0
    return folder / "run"


@pytest.mark.slow
def test_run_on_images_writes_grids_of_them(run: Path) -> None:
    """Once at each evaluation and at the end."""
    events = events_of(run)
    images = {"images/samples", "images/nearest_training_rows", "images/replay_buffer"}
    assert set(events.Tags()["images"]) == images | {"final", "energies"}
    assert set(events.Tags()["histograms"]) == {"energy/train", "energy/validation", "energy/noise"}
    for tag in images:
        assert [event.step for event in events.Images(tag)] == [2, 4], tag
    for tag in events.Tags()["histograms"]:
        events_of_tag = events.Histograms(tag)
        assert [event.step for event in events_of_tag] == [2, 4], tag
        assert events_of_tag[0].histogram_value.num == (180 if tag == "energy/validation" else 1000)
    assert {path.name for path in (run / "figures").iterdir()} == {"final.png", "energies.png"}
    height, width, _ = imread(run / "figures" / "final.png").shape
    assert width / height > 2.5  # data, samples, samples above their neighbours


@pytest.mark.slow
def test_number_of_evaluations_changes_no_weight(run: Path, ebm: Ebm, tmp_path: Path) -> None:
    assert ebm("train", *DIGITS, "eval_every=null", "hydra.run.dir=unmonitored").code == 0
    assert differences(trained(run), trained(tmp_path / "unmonitored")) == []
    assert "images/samples" in events_of(tmp_path / "unmonitored").Tags()["images"]  # at the end


def test_run_on_points_writes_energies_only(ebm: Ebm, tmp_path: Path) -> None:
    words = ["dataset=wine", "monitor=eval/fisher", "steps=4", "eval_every=2"]
    assert ebm("train", *TINY, *words, "hydra.run.dir=run").code == 0
    events = events_of(tmp_path / "run")
    assert events.Tags()["images"] == ["energies"]
    assert [event.step for event in events.Histograms("energy/noise")] == [0, 1, 2, 4]
    assert [path.name for path in (tmp_path / "run" / "figures").iterdir()] == ["energies.png"]


def test_snapshot_changes_no_state_but_its_chains() -> None:
    cfg = composed("dataset=digits", "energy=conv", "energy.width=4", "energy.spectral_norm=true", "method=pcd")
    parts = assemble(cfg)
    snapshots = Snapshots(parts, protocol_of(cfg, 0, 16, None).kernel, 0)
    before = {name: value.clone() for name, value in parts.energy.state_dict().items()}
    kept = parts.method.state_dict()["buffer"].clone()
    chains, drawn = snapshots._chains.clone(), torch.get_rng_state()

    class Board:
        def __init__(self) -> None:
            self.names: list[str] = []

        def image(self, name: str, pixels: NDArray[Any], step: int) -> None:
            assert pixels.dtype == np.uint8
            self.names.append(name)

        def histogram(self, name: str, values: torch.Tensor, step: int) -> None:
            assert bool(values.isfinite().all())
            self.names.append(name)

    board = Board()
    snapshots.write(board, 1)  # type: ignore[arg-type]
    assert len(board.names) == 6
    assert not torch.equal(snapshots._chains, chains)
    assert bool(snapshots._chains.isfinite().all())
    assert differences(before, parts.energy.state_dict()) == []
    assert torch.equal(parts.method.state_dict()["buffer"], kept)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert parts.energy.training
    assert len({id(f) for f in snapshots.energies("test").values()}) == 3


def test_only_pcd_has_a_replay_buffer() -> None:
    methods = {m: assemble(composed(f"method={m}", "dataset=moons")).method for m in ("pcd", "cd", "nce")}
    kept = {m: method.persistent_chains() for m, method in methods.items()}
    assert (kept["cd"], kept["nce"]) == (None, None)
    assert kept["pcd"] is not None
    assert kept["pcd"].shape == (64, 2)
