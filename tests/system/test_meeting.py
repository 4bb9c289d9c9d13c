"""Processes that hear of one another's end; here they are threads, with fast signs of life."""

import socket
import time

import pytest

from ebm_cli.errors import ProcessLost, UserError
from ebm_cli.system import meeting, signs_of_life
from ebm_cli.system.launched import Place
from ebm_cli.system.meeting import Meeting
from ebm_cli.training.launched import has_own


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs_of_life, "BEAT", 0.02)
    monkeypatch.setattr(signs_of_life, "GRACE", 0.5)


def place(index: int, port: int) -> Place:
    return Place(index, 2, index, "127.0.0.1", port, "test")


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_values_are_heard_and_all_end_well(port: int) -> None:
    with Meeting(place(0, port)) as first, Meeting(place(1, port)) as second:
        first.say("task", {"a": 1})
        assert second.hear("task") == {"a": 1}
        for each, index in ((first, 0), (second, 1)):
            each.say(f"unit/{index}", index)
        assert first.everyone("unit") == second.everyone("unit") == [0, 1]
        second.life.leave(0)
        time.sleep(0.2)
        first.life.leave(0)
        assert first.life.lost is None


def test_process_without_signs_of_life_is_lost(port: int) -> None:
    with Meeting(place(0, port)) as first, Meeting(place(1, port)) as second:
        time.sleep(0.1)
        second.life._is_over.set()
        began = time.monotonic()
        with pytest.raises(ProcessLost, match=r"rank 1 of the 2 processes, .* does not answer any more \(pid \d+ on "):
            first.hear("nothing", 10)
        assert 0.02 * signs_of_life.MISSED * 0.5 < time.monotonic() - began < 5


def test_process_that_fails_says_why(port: int) -> None:
    with Meeting(place(0, port)) as first, Meeting(place(1, port)) as second:
        second.life.leave(1, "failed: no such file")
        with pytest.raises(ProcessLost, match="rank 1 of the 2 processes, counted from 0, failed: no such file"):
            first.hear("nothing", 10)
        assert first.life.speaks


def test_two_processes_of_one_number_are_refused(port: int) -> None:
    with Meeting(place(0, port)):
        with pytest.raises(UserError, match=f"port {port} is in use"):
            Meeting(place(0, port))
        with Meeting(place(1, port)), pytest.raises(UserError, match="two processes say that they are rank 1"):
            Meeting(place(1, port)).__enter__()


def test_process_that_does_not_come_is_named(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "JOINING", 0.2)
    with pytest.raises(UserError, match=f"rank 0 was not at 127.0.0.1:{port}"):
        Meeting(place(1, port))


def test_devices_are_their_own_unless_two_have_one() -> None:
    a, b = {"host": "n1", "unit": "GPU-1"}, {"host": "n1", "unit": "GPU-2"}
    assert has_own([a, b, {"host": "n2", "unit": "GPU-1"}])
    assert not has_own([a, b, a])
