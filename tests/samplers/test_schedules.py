"""Schedules of a kernel's fields."""

import pytest

from ebm_cli.samplers import geometric


def test_geometric_schedule_changes_by_a_constant_factor() -> None:
    schedule = geometric(5, step_size=(1.0, 0.0625), temperature=(3.0, 3.0))
    steps = [schedule(i) for i in range(7)]
    assert [s["step_size"] for s in steps] == pytest.approx([1.0, 0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0625])
    assert [s["temperature"] for s in steps] == pytest.approx([3.0] * 7)


def test_geometric_schedule_refuses_numbers_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"^temperature must be > 0"):
        geometric(5, temperature=(1.0, 0.0))
    with pytest.raises(ValueError, match=r"^n_steps must be >= 2"):
        geometric(1, temperature=(2.0, 1.0))
