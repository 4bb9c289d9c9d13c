"""A trained table gets the tails of its training rows, unless the validation rows disagree; training knows nothing."""

from pathlib import Path

import pytest
import torch

import ebm_cli
from ebm_cli.datasets.table_suite.table import TableSuite
from ebm_cli.energies import MLP, Tilted
from ebm_cli.runs.model import load
from ebm_cli.training import tail_calibration
from ebm_cli.training.tail_calibration import calibrate_tails
from tests.support import TINY, Ebm, differences, last, no_pictures, seeded, trained

HEAVY = TableSuite("returns", n_rows=30_000)
"""Rows with heavy tails, unlike those of a Gaussian."""


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_calibration, "N_PER_COLUMN", 20_000)
    no_pictures(monkeypatch)


def normal_start(calibrate: bool = True) -> Tilted:
    return Tilted((4,), HEAVY.reference, reference="gaussian", marginals="none", width=4, calibrate=calibrate)


def test_tails_of_a_gaussian_move_towards_those_of_the_rows() -> None:
    energy = normal_start()
    assert energy.reference is not None
    tails = calibrate_tails(energy, HEAVY, seed=0)
    assert tails is not None
    # The tails of a Gaussian are too light on every side of these columns: the energy falls outwards.
    assert (tails.heights.sum(1) < 0).all()
    draws = energy.reference.sample(100_000, seeded(9))
    weights = (-energy(draws) - energy.reference.log_prob(draws)).softmax(0)
    rows, steps = (energy.tails.steps(x).flatten(1) for x in (HEAVY.reference, draws))
    before, after = ((found / rows.mean(0)).log().abs() for found in (steps.mean(0), weights @ steps))
    assert (after < before).all()
    # From a Gaussian, whose tails have as little as a twentieth of the rows', the prior allows a part of the way.
    assert (before - after).mean() > 0.4


def test_validation_rows_refuse_tails_that_they_do_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    energy = normal_start()
    monkeypatch.setattr(HEAVY, "standardised_rows", lambda part, n: 0.1 * HEAVY.reference)
    assert calibrate_tails(energy, HEAVY, seed=0) is None
    assert energy.tails.is_zero


def test_other_energies_keep_their_tails() -> None:
    assert calibrate_tails(normal_start(calibrate=False), HEAVY, seed=0) is None
    assert calibrate_tails(MLP((4,)), HEAVY, seed=0) is None


@pytest.mark.slow
def test_tails_are_in_the_checkpoint_and_not_in_training(ebm: Ebm, tmp_path: Path) -> None:
    """The loaded model has them; a run that continues does so without them, as one that never ended."""
    words = [*TINY, "dataset=table_suite", "dataset.name=returns", "dataset.n_rows=3000"]
    words += ["energy.reference=gaussian", "energy.marginals=none", "method=cd", "method.k=1", "eval_every=5"]
    words += ["schedule=constant"]
    assert ebm("train", *words, "steps=6", "hydra.run.dir=run").code == 0
    state = last(tmp_path / "run", "best.pt")
    assert state["tails"].keys() == {"thresholds", "widths", "heights"}
    energy = load(tmp_path / "run").energy
    assert isinstance(energy, Tilted)
    assert not energy.tails.is_zero
    raw = load(tmp_path / "run", weights="raw").energy
    assert isinstance(raw, Tilted)
    assert raw.tails.is_zero
    x = torch.randn(5, 4)
    torch.testing.assert_close(ebm_cli.load(tmp_path / "run").network(x), energy(x))
    assert ebm("train", "checkpoint=run", "steps=9").code == 0
    assert ebm("train", *words, "steps=9", "hydra.run.dir=whole").code == 0
    continued, whole = (trained(tmp_path / run) for run in ("run", "whole"))
    assert differences(continued, whole) == []
