"""Ladders: geometric ones, and those of equal rejections."""

import math

import pytest

from ebm_cli.samplers.ladder import equal_rejections, geometric_ladder, require_ladder


def test_a_geometric_ladder_has_one_ratio() -> None:
    assert geometric_ladder(4, 8.0) == pytest.approx((1.0, 0.5, 0.25, 0.125))
    assert geometric_ladder(2, 3.0) == pytest.approx((1.0, 1 / 3))


def test_equal_rejections_leave_a_ladder_as_it_is() -> None:
    ladder = geometric_ladder(6, 20.0)
    assert equal_rejections(ladder, [0.4] * 5) == pytest.approx(ladder)


def test_a_pair_that_refuses_more_is_brought_nearer() -> None:
    """Λ = 0.2, 0.8 at the ladder's inverse temperatures; half of it is at 0.4, a third of the way in log β."""
    found = equal_rejections((1.0, math.exp(-1), math.exp(-4)), (0.2, 0.6))
    assert found == pytest.approx((1.0, math.exp(-2), math.exp(-4)))


@pytest.mark.parametrize("ladder", [(1.0, math.nan), (1.0, math.nan, 0.5), (1.0, 0.5, math.nan), (math.nan, 0.5)])
def test_a_ladder_holds_numbers(ladder: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="ladder must fall from 1"):
        require_ladder(ladder)


def test_rates_without_a_number_count_as_refused() -> None:
    assert equal_rejections((1.0, 0.5, 0.25), (math.nan, 1.0)) == pytest.approx((1.0, 0.5, 0.25))


def test_a_flat_energy_keeps_a_ladder_that_falls() -> None:
    found = equal_rejections((1.0, 0.9, 0.1), (0.0, 0.0))
    assert found[0] > found[1] > found[2]
