"""The summary by coordinate: its numbers, what does not exist, and the chains that it leaves out."""

import pytest
import torch

from ebm_cli.evaluation.coordinate_summary import coordinate_names, summarise_coordinates
from ebm_cli.evaluation.mcmc_diagnostics import ess_bulk, rhat
from ebm_cli.evaluation.monte_carlo_error import mcse_mean
from tests.support import normal


def test_table_has_a_row_for_each_coordinate() -> None:
    draws = normal(200, 4, 2, seed=0) * torch.tensor((1.0, 3.0)) + torch.tensor((0.0, 10.0))
    first, second = summarise_coordinates(draws, ["height", "weight"])
    flat = draws.flatten(0, 1)[:, 1]
    assert second["name"] == "weight"
    assert second["mean"] == pytest.approx(float(flat.mean()))
    assert second["sd"] == pytest.approx(float(flat.std()))
    expected = torch.quantile(flat, torch.tensor((0.05, 0.5, 0.95), dtype=flat.dtype)).tolist()
    assert [second[name] for name in ("q5", "q50", "q95")] == pytest.approx(expected)
    assert second["mcse_mean"] == pytest.approx(float(mcse_mean(draws)[1]))
    assert second["rhat"] == pytest.approx(float(rhat(draws)[1]))
    assert second["ess_bulk"] == pytest.approx(min(800.0, float(ess_bulk(draws)[1])))
    assert list(first) == list(second)


def test_table_has_none_for_what_does_not_exist() -> None:
    draws = normal(20, 4, 2, seed=0)
    draws[:, :, 1] = 2.0
    row = summarise_coordinates(draws)[1]
    assert (row["mean"], row["sd"]) == (2.0, 0.0)
    assert [row[name] for name in ("mcse_mean", "rhat", "ess_bulk", "ess_tail")] == [None] * 4


def test_table_leaves_out_chains_that_never_moved() -> None:
    draws = normal(50, 5, 2, seed=0)
    draws[:, 3] = 1000.0
    assert summarise_coordinates(draws) == summarise_coordinates(draws[:, [0, 1, 2, 4]])


def test_coordinates_without_names_have_indices() -> None:
    assert coordinate_names((3,)) == ["x0", "x1", "x2"]
    assert coordinate_names((1, 2, 2)) == ["x[0,0,0]", "x[0,0,1]", "x[0,1,0]", "x[0,1,1]"]
