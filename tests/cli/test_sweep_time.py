"""The time left of a sweep, from the jobs that have ended and from the speed of those that run."""

from types import SimpleNamespace
from typing import Any

import pytest

from ebm_cli.cli.sweep_time import SweepTime


def watch(seconds: float, left: float | None = None, since: float | None = None, did_work: bool = True) -> Any:
    """A job that began some seconds ago, by its speed has others left, and has or has not taken its last step."""
    return SimpleNamespace(seconds=seconds, seconds_left=left, seconds_since_trained=since, did_work=did_work)


def test_running_jobs_need_what_their_speed_says() -> None:
    time = SweepTime(2)
    assert time.left([watch(3.0), watch(3.0, 50.0)], 0) is None
    assert (time.left([watch(10.0, 30.0), watch(10.0, 50.0)], 0), time.is_whole) == (50.0, False)
    # Three more, of 50 s in the mean: on the worker that is free after 30 s, after 50 s, and after 80 s.
    assert time.left([watch(10.0, 30.0), watch(10.0, 50.0)], 3) == 130.0


def test_evaluation_takes_as_long_as_that_of_others() -> None:
    time = SweepTime(2)
    time.ended(watch(100.0, 0.0, since=20.0))
    assert time.is_whole
    assert time.left([watch(10.0, 70.0), watch(90.0, 0.0, since=5.0)], 0) == 90.0
    assert time.left([watch(90.0, 0.0, since=5.0)], 0) == 15.0
    assert time.left([watch(2.0)], 0) == 98.0
    assert time.left([watch(99.0, 0.0, since=30.0)], 1) == pytest.approx(99.5)


def test_speed_says_too_much_where_jobs_stop_early() -> None:
    time = SweepTime(1)
    time.ended(watch(40.0))
    assert time.left([watch(10.0, 90.0)], 0) == 30.0
    assert time.left([watch(50.0, 60.0)], 0) == 60.0


def test_jobs_that_were_skipped_say_nothing() -> None:
    time = SweepTime(1)
    time.ended(watch(9.0, did_work=False))
    assert time.left([], 3) is None
