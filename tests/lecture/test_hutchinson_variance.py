"""Hutchinson's estimator against its closed forms."""

import pytest
import torch
from torch import Tensor

from ebm_cli.lecture import HutchinsonVariance
from ebm_cli.lecture.hutchinson_variance import closed_forms
from ebm_cli.methods import ssm
from tests.lecture.measurements import passed
from tests.support import normal

SMALL = HutchinsonVariance(dim=5, n_directions=20_000, seed=0)


def test_means_and_variances_agree_with_closed_forms() -> None:
    outcome = SMALL.measure([])
    assert passed(outcome) == {"unbiased": True, "variance": True, "signs vary less than Gaussians": True}
    assert len(outcome.rows) == 9


def test_signs_have_the_variance_of_all_sign_vectors() -> None:
    """By summation over all 2⁴ sign vectors, which are equally likely."""
    root = normal(4, 4)
    a = root + root.T
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 4)
    values = ((signs @ a) * signs).sum(1)
    assert closed_forms(a)["rademacher"] == pytest.approx(float(values.var(correction=0)))


def test_identity_has_a_variance_under_gaussians_alone() -> None:
    found = closed_forms(torch.eye(6, dtype=torch.float64))
    assert found == pytest.approx({"rademacher": 0.0, "gaussian": 12.0, "sphere": 0.0})


def test_directions_of_the_wrong_length_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: directions on the unit sphere, not on that of radius √D."""

    def unit(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
        return sphere(shape, like, rng) / shape[-1] ** 0.5

    sphere = ssm.DRAW["sphere"]
    monkeypatch.setitem(ssm.DRAW, "sphere", unit)
    assert passed(SMALL.measure([]))["unbiased"] is False
