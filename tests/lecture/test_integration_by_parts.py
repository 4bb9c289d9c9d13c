"""Integration by parts on smooth densities, and on a box, where the boundary counts."""

import pytest
import torch

from ebm_cli.energies import Quadratic
from ebm_cli.lecture import IntegrationByParts, integration_by_parts
from tests.lecture.measurements import passed
from tests.support import seeded

SMALL = IntegrationByParts(n_points=20_000, seed=0)


def test_sides_agree_on_smooth_densities_and_differ_on_a_box() -> None:
    outcome = SMALL.measure([])
    assert all(passed(outcome).values())
    assert [row["density"] for row in outcome.rows] == ["Gaussian", "8 Gaussians", "uniform box"]


def test_outflow_of_a_quadratic_energy_is_minus_its_trace() -> None:
    """On [−1, 1]² the field s = −x leaves through each of four faces with density ½ · 1 · ½."""
    flow, error = integration_by_parts._outflow(Quadratic((2,)).double().requires_grad_(False), 100, seeded())
    assert flow == pytest.approx(-2.0)
    assert error == pytest.approx(0.0, abs=1e-9)


def test_wrong_score_of_the_data_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a score that is 10 % too large."""
    right = integration_by_parts._score
    monkeypatch.setattr(integration_by_parts, "_score", lambda density, x: 1.1 * right(density, x))
    assert passed(SMALL.measure([]))["both sides agree"] is False
    assert torch.is_grad_enabled()
