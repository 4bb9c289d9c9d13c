"""The exact blindness curves against known values, and the methods' own losses against the curves."""

import pytest

from ebm_cli.lecture import BlindnessCurves
from ebm_cli.lecture.blindness_curves import SPREAD
from ebm_cli.methods import CNCE, ED, Method
from tests.lecture.measurements import passed

SMALL = BlindnessCurves(5.0, [1.0, 8.0, 128.0], [1.0, 3.0], measured=0.01, n_rows=2000, seed=0)


def test_spreads_are_those_of_an_independent_quadrature() -> None:
    outcome = SMALL.measure([])
    found = {(row["loss"], row["reach"]): row[SPREAD] for row in outcome.rows}
    known = {("nll", None): 0.832, ("sm", None): 1.04e-5, ("ed", 1.0): 5.6e-4, ("cnce", 3.0): 0.013}
    known |= {("ed", 8**0.5): 0.126, ("ed", 128**0.5): 0.708, ("cnce", 1.0): 2e-5}
    assert found == pytest.approx(known, rel=0.02)
    assert all(passed(outcome).values())


@pytest.mark.parametrize(
    ("method", "spread"), [(ED(t=8.0, n_perturbations=64, w=0.0), 0.1257), (CNCE(eps=10.0), 0.169)]
)
def test_methods_have_the_spreads_of_the_integrals(method: Method, spread: float) -> None:
    """Within five standard errors; between models that both are right there is none."""
    apart, error = SMALL._measured(method, low=0.2, high=0.8)
    assert abs(apart - spread) < 5 * error + 0.02 * spread
    assert apart > 5 * error
    assert SMALL._measured(method, 0.2, 0.2) == (0, 0)


def test_lists_of_reaches_are_positive() -> None:
    with pytest.raises(ValueError, match="t and eps must"):
        BlindnessCurves(5.0, [1.0], [0.0], 1.0, 100, 0)
