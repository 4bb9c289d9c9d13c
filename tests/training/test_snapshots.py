"""What there is to see of a model: histograms of energies, grids of images, nearest training rows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ebm_cli.datasets import Digits, Synthetic
from ebm_cli.datasets import Gaussian as Normal
from ebm_cli.evaluation.memorisation import nearest
from ebm_cli.reporting import figure as canvas
from ebm_cli.reporting import image_grids, plots
from ebm_cli.runs.assemble import assemble, protocol_of
from ebm_cli.training.snapshots import Snapshots
from tests.support import TINY, Ebm, composed, differences, trained

DIGITS = [*TINY[1:], "dataset=digits", "energy=conv", "energy.width=4", "method=pcd", "method.buffer_size=64"]
DIGITS += ["method.k=2", "monitor=eval/fisher", "metrics=[samples]", "steps=4", "eval_every=2"]


def seen(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run), size_guidance={"images": 0, "histograms": 0})
    events.Reload()
    return events


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pcd on digits."""
    from ebm_cli.cli.main import main

    folder = tmp_path_factory.mktemp("viewed")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert main(["train", *DIGITS, "hydra.run.dir=run"]) == 0
    return folder / "run"


def test_a_run_on_images_shows_them(run: Path) -> None:
    """At each evaluation and at the end, each once."""
    events = seen(run)
    images = {"images/samples", "images/nearest_training_rows", "images/replay_buffer"}
    assert set(events.Tags()["images"]) == images | {"final", "energies"}
    assert set(events.Tags()["histograms"]) == {"energy/train", "energy/validation", "energy/noise"}
    for tag in images:
        assert [event.step for event in events.Images(tag)] == [2, 4], tag
    for tag in events.Tags()["histograms"]:
        told = events.Histograms(tag)
        assert [event.step for event in told] == [2, 4], tag
        assert told[0].histogram_value.num == (180 if tag == "energy/validation" else 1000)
    assert {path.name for path in (run / "figures").iterdir()} == {"final.png", "energies.png"}
    height, width, _ = imread(run / "figures" / "final.png").shape
    assert width / height > 2.5  # data, samples, samples above their neighbours


def test_how_often_it_is_looked_at_changes_no_weight(run: Path, ebm: Ebm, tmp_path: Path) -> None:
    assert ebm("train", *DIGITS, "eval_every=null", "hydra.run.dir=unseen").code == 0
    assert differences(trained(run), trained(tmp_path / "unseen")) == []
    assert "images/samples" in seen(tmp_path / "unseen").Tags()["images"]  # at the end


def test_a_run_on_points_shows_its_energies_alone(ebm: Ebm, tmp_path: Path) -> None:
    words = ["dataset=wine", "monitor=eval/fisher", "steps=4", "eval_every=2"]
    assert ebm("train", *TINY, *words, "hydra.run.dir=run").code == 0
    events = seen(tmp_path / "run")
    assert events.Tags()["images"] == ["energies"]
    assert [event.step for event in events.Histograms("energy/noise")] == [2, 4]
    assert [path.name for path in (tmp_path / "run" / "figures").iterdir()] == ["energies.png"]


def test_looking_draws_from_nothing_but_its_own() -> None:
    """And its chains move."""
    cfg = composed("dataset=digits", "energy=conv", "energy.width=4", "energy.spectral_norm=true", "method=pcd")
    parts = assemble(cfg)
    views = Snapshots(parts, protocol_of(cfg, 0, 16, None).kernel, 0)
    before = {name: value.clone() for name, value in parts.energy.state_dict().items()}
    kept = parts.method.state_dict()["buffer"].clone()
    chains, drawn = views._chains.clone(), torch.get_rng_state()

    class Board:
        def __init__(self) -> None:
            self.names: list[str] = []

        def image(self, name: str, pixels: canvas.Array, step: int) -> None:
            assert pixels.dtype == np.uint8
            self.names.append(name)

        def histogram(self, name: str, values: torch.Tensor, step: int) -> None:
            assert bool(values.isfinite().all())
            self.names.append(name)

    board = Board()
    views.write(board, 1)  # type: ignore[arg-type]
    assert len(board.names) == 6
    assert not torch.equal(views._chains, chains)
    assert bool(views._chains.isfinite().all())
    assert differences(before, parts.energy.state_dict()) == []
    assert torch.equal(parts.method.state_dict()["buffer"], kept)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert parts.energy.training
    assert len({id(f) for f in views.energies("test").values()}) == 3


def test_only_a_method_with_chains_of_its_own_keeps_them() -> None:
    methods = {m: assemble(composed(f"method={m}", "dataset=moons")).method for m in ("pcd", "cd", "nce")}
    kept = {m: method.persistent_chains() for m, method in methods.items()}
    assert (kept["cd"], kept["nce"]) == (None, None)
    assert kept["pcd"] is not None
    assert kept["pcd"].shape == (64, 2)


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_the_nearest_row() -> None:
    rows = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    x = torch.tensor([[9.0, 1.0], [0.1, 0.2], [1.0, 30.0]])
    assert torch.equal(nearest(x, rows), rows[[1, 0, 2]])


def test_a_copy_is_seen_to_be_one() -> None:
    """Rows of the training set, slightly changed, find themselves; the data's own units come back."""
    data = Digits(dequantise=False)
    rows = data.standardizer.inverse(data.reference)
    found = image_grids.nearest_training_rows(rows[:20] + 0.3, data)
    assert torch.allclose(found, rows[:20], atol=1e-4)


def test_tiles_are_in_their_order_and_their_range() -> None:
    images = torch.arange(11.0).view(11, 1, 1, 1).expand(11, 1, 3, 3)
    grid = image_grids.tiles(images, 0.0, 10.0, width=40)
    assert grid.shape == (10, 40, 3)
    assert (grid[0] == 255).all()  # a line between them
    centres = grid[2::5, 2::5, 0]
    assert centres[0].tolist() == [round(25.5 * i) for i in range(8)]
    assert centres[1].tolist() == [round(25.5 * i) for i in (8, 9, 10)] + [255] * 5
    assert image_grids.tiles(images, 0.0, 10.0, width=120).shape == (30, 120, 3)
    assert image_grids.tiles(images * torch.nan, 0.0, 10.0).min() == 255


def test_samples_stand_above_their_neighbours() -> None:
    upper, lower = torch.arange(10.0), 100 + torch.arange(10.0)
    found = image_grids.above(upper, lower).tolist()
    assert found == [*range(8), *range(100, 108), 8, 9, 108, 109]


def test_the_picture_of_overfitting() -> None:
    """The title says how much lower training rows lie; noise that is far away leaves them their place."""
    generator = torch.Generator().manual_seed(0)
    train = torch.randn(4000, generator=generator)
    test, noise = torch.randn(1000, generator=generator) + 3, torch.full((500,), 1e6)
    axes = plots.energies_figure({"train": train, "test": test, "noise": noise}).axes[0]
    gap, error = (float(part) for part in axes.get_title().partition(": ")[2].removesuffix(" nats").split(" ± "))
    assert gap == pytest.approx(3.0, abs=5 * error)
    assert error == pytest.approx((1 / 4000 + 1 / 1000) ** 0.5, rel=0.1)
    low, high = axes.get_xlim()
    assert -6 < low < -2
    assert 5 < high < 30
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train", "test", "noise (100% outside)"]


def test_energies_that_are_not_finite_can_be_drawn() -> None:
    nothing = torch.full((5,), torch.nan)
    figure = plots.energies_figure({"train": nothing, "test": nothing, "noise": nothing})
    assert figure.axes[0].get_title() == "no energy is finite"
    figure = plots.energies_figure({"train": torch.ones(3), "test": nothing, "noise": nothing})
    assert canvas.pixels(figure).ndim == 3


def test_points_have_no_grid() -> None:
    assert image_grids.is_image((1, 8, 8))
    assert image_grids.is_image((3, 32, 32))
    assert not image_grids.is_image((2,))
    assert not image_grids.is_image((2, 8, 8))
    assert not image_grids.is_image(Synthetic(Normal(2)).shape)
