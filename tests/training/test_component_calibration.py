"""After score matching the components of a table's energy get the weights of the rows; other methods keep theirs."""

from pathlib import Path

import pytest
import torch

from ebm_cli.datasets.table_suite.table import TableSuite
from ebm_cli.energies import MLP, Tilted
from ebm_cli.methods import CNCE, SM, Method
from ebm_cli.runs.model import load
from ebm_cli.training import component_calibration
from ebm_cli.training.component_calibration import calibrate_components
from tests.support import TINY, Ebm, last, no_pictures, seeded

APART = TableSuite("clusters", n_rows=3000)
"""Five Gaussians that hardly overlap."""


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component_calibration, "N_DRAWS", 20_000)
    no_pictures(monkeypatch)


def of_half_the_rows(calibrate: bool = True) -> Tilted:
    """The energy of a reference that has seen three quarters less of the rows on one side: its weights are wrong."""
    rows = APART.reference
    kept = (rows[:, 0] < rows[:, 0].median()) | (torch.arange(len(rows)) % 4 == 0)
    return Tilted((8,), rows[kept], reference="mixture", marginals="none", width=4, calibrate=calibrate)


def masses(energy: Tilted, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean shares under the model and over the rows."""
    draws = energy.density.sample(50_000, seeded(3))
    w = (-energy(draws) - energy.density.log_prob(draws)).softmax(0)
    return w @ energy.density.locate(draws).share, energy.density.locate(rows).share.mean(0)


def test_weights_become_those_of_the_rows() -> None:
    energy = of_half_the_rows()
    before, wanted = masses(energy, APART.reference)
    assert (before - wanted).abs().max() > 0.1
    scales = calibrate_components(energy, SM(), APART, seed=0)
    assert scales is not None
    assert not energy.scales.is_zero
    found, _ = masses(energy, APART.reference)
    assert (found - wanted).abs().max() < 0.01


def test_validation_rows_refuse_weights_that_they_do_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    energy = of_half_the_rows()
    unlike = energy.density.sample(500, seeded(4))
    monkeypatch.setattr(APART, "standardised_rows", lambda part, n: unlike)
    assert calibrate_components(energy, SM(), APART, seed=0) is None
    assert energy.scales.is_zero


@pytest.mark.parametrize(
    ("method", "energy"),
    [
        (CNCE(), of_half_the_rows),
        (SM(), lambda: of_half_the_rows(calibrate=False)),
        (SM(), lambda: MLP((8,))),
    ],
    ids=["cnce", "not asked for", "mlp"],
)
def test_others_keep_their_weights(method: Method, energy: type[Tilted]) -> None:
    assert calibrate_components(energy(), method, APART, seed=0) is None


@pytest.mark.slow
def test_scales_are_in_the_checkpoint(ebm: Ebm, tmp_path: Path) -> None:
    words = [*TINY, "dataset=table_suite", "dataset.name=laplace_grid", "dataset.n_rows=3000", "method=sm"]
    words += ["energy.width=32", "optimizer.lr=0.01", "steps=60", "eval_every=60", "hydra.run.dir=run"]
    assert ebm("train", *words).code == 0
    stored = last(tmp_path / "run", "best.pt")
    energy, raw = (load(tmp_path / "run", weights=weights).energy for weights in ("ema", "raw"))
    assert isinstance(energy, Tilted)
    assert isinstance(raw, Tilted)
    assert torch.equal(energy.scales.scales, stored["scales"].to(energy.scales.scales))
    assert raw.scales.is_zero
