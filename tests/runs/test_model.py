"""Models loaded from checkpoints."""

from pathlib import Path

import pytest

import ebm_cli
from tests.support import TINY, Ebm, differences, last, no_pictures


@pytest.fixture
def run(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of seven steps, whose best checkpoint may be an earlier one."""
    no_pictures(monkeypatch)
    words = ["metrics=[density]", "steps=7", "eval_every=3", "ema=0.9", "optimizer.lr=0.02", "hydra.run.dir=run"]
    assert ebm("train", *TINY, *words).code == 0
    return tmp_path / "run"


def test_load_gives_the_trained_model(run: Path) -> None:
    """Averaged weights, standardizer, data set and config, from the checkpoint alone."""
    state = last(run)
    model = ebm_cli.load(run)
    mean = {name.removeprefix("energy."): value for name, value in state["ema"]["mean"].items()}
    weights = dict(model.network.named_parameters())
    assert differences({name: mean[name] for name in weights}, {name: p.data for name, p in weights.items()}) == []
    raw = ebm_cli.load(run / "checkpoints" / "last.pt", weights="raw")
    assert differences(dict(raw.network.state_dict()), dict(state["energy"])) == []
    assert differences(dict(raw.network.state_dict()), dict(model.network.state_dict()))
    assert differences(dict(model.standardizer.state_dict()), dict(state["dataset"]["standardizer"])) == []
    assert (model.step, model.config.batch_size, model.network.training) == (7, 16, False)
    assert not any(p.requires_grad for p in model.network.parameters())
    rows = model.dataset.held_out(50)
    assert rows.shape == (50, 2)
    assert differences(dict(model.dataset.standardizer.state_dict()), dict(model.standardizer.state_dict())) == []
    assert ebm_cli.load(run, which="best").step == last(run, "best.pt")["step"]
