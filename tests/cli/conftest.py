"""Fixtures of the command line's tests."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.support import Ebm, StandIn


@pytest.fixture
def trained(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> Path:
    """A run directory with a stored config, as `ebm train` leaves it."""
    seen = stand_in("train")
    assert ebm("train", "sampler=langevin", "sampler.step_size=0.007", "steps=11", "hydra.run.dir=run").code == 0
    OmegaConf.save(seen[0], tmp_path / "run" / "config.yaml", resolve=True)
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "last.pt").write_bytes(b"")
    return tmp_path / "run"
