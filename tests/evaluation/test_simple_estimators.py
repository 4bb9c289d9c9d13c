"""The metric group of simple estimators: their KL on known densities."""

import pytest
import torch

from ebm_cli.datasets import Gaussian, Synthetic, TableSuite
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation.simple_estimators import Baselines, baseline_kls
from tests.evaluation.toys import Rows, small_evaluation


def test_mixture_is_exact_for_a_gaussian_and_ranks_first():
    data = Synthetic(Gaussian(3, None, [[4.0, 1.9, 0.0], [1.9, 1.0, 0.0], [0.0, 0.0, 1.0]]), n_train=2_000)
    found = baseline_kls(data, 0.3, 2_000)
    # A Gaussian fitted to N rows has 9 parameters and a KL of about 9/(2 N).
    assert abs(found["eval/kl_mixture"]) < 0.012
    assert found["eval/kl_kde"] > 0.015
    assert found["eval/kl_flow"] > found["eval/kl_mixture"]
    assert found["eval/kl_best_baseline"] == found["eval/kl_mixture"]


def test_kernels_are_left_out_in_many_dimensions():
    found = baseline_kls(TableSuite("correlated"), 0.1, 1_000)
    assert "eval/kl_kde" not in found
    assert found["eval/kl_mixture"] < 0.3


def test_group_reports_its_keys_and_refuses_real_rows():
    energy = Quadratic((2,)).requires_grad_(False)
    found = small_evaluation(energy, Synthetic(Gaussian(2), n_train=500), Baselines(seconds=0.05)).results
    assert {"eval/kl_mixture", "eval/kl_kde", "eval/kl_flow", "eval/kl_best_baseline"} == set(found.values)
    real = small_evaluation(energy, Rows(torch.randn(50, 2)), Baselines(seconds=0.05)).results
    assert list(real.absent) == ["eval/kl_best_baseline"]
    with pytest.raises(ValueError, match=r"^seconds must be > 0"):
        Baselines(seconds=0.0)
