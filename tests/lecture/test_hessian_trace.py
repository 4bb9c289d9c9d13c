"""Three ways to the trace of a Hessian: their values and their cost."""

import pytest
import torch

from ebm_cli.energies import Quadratic
from ebm_cli.lecture import HessianTrace, hessian_trace
from ebm_cli.lecture.hessian_trace import WAYS
from tests.lecture.measurements import passed
from tests.support import normal, seeded

SMALL = HessianTrace(dims=[4, 32, 96], fit_from=32, width=16, batch_size=8, repeats=3, seed=0)


@pytest.mark.parametrize("way", sorted(WAYS))
def test_loss_of_a_quadratic_energy_has_its_closed_form(way: str) -> None:
    """½ P²‖x‖² − D P with the precision P = 3, in three dimensions; one direction of signs gives the same."""
    x = normal(7, 3)
    loss = WAYS[way](Quadratic((3,), precision=3.0).double(), x, seeded())
    assert float(loss.detach()) == pytest.approx(4.5 * float(x.square().sum(1).mean()) - 9)


@pytest.mark.slow
def test_loop_costs_the_dimension_and_sliced_does_not() -> None:
    outcome = SMALL.measure([])
    rows = {(row["trace by"], row["dimension"]): row for row in outcome.rows}
    assert passed(outcome)["both exact losses are equal"]
    assert float(rows["loop of autograd", 96]["CPU seconds"] or 0) > 5 * float(rows["sliced", 96]["CPU seconds"] or 0)


@pytest.mark.slow
def test_wrong_trace_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the loss of another direction's curvature is not the exact one."""
    monkeypatch.setitem(hessian_trace.WAYS, "forward Laplacian", hessian_trace.sliced_loss)
    tiny = HessianTrace(dims=[4, 8], fit_from=4, width=8, batch_size=8, repeats=1, seed=0)
    assert passed(tiny.measure([]))["both exact losses are equal"] is False
    assert torch.is_grad_enabled()


def test_a_slope_needs_two_dimensions() -> None:
    with pytest.raises(ValueError, match="fit_from must leave two of dims"):
        HessianTrace(dims=[2, 4], fit_from=4, width=8, batch_size=2, repeats=1, seed=0)
