"""The pool of worker processes: jobs are shared, a dead worker loses its own job only, a signal ends all."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.cli import sweep_pool
from ebm_cli.cli.sweep_cores import n_cores, threads_of_a_job, worker_count
from ebm_cli.cli.sweep_pool import Pool
from ebm_cli.cli.sweep_worker import Ended, Job
from ebm_cli.cli.worker import Died
from ebm_cli.errors import UserError
from tests.cli.light_worker import light_work


class Ran:
    """The words of a pool on its jobs."""

    def __init__(self, n_workers: int, words: list[str], stop_at: int | None = None) -> None:
        self.asked, self.began, self.ended = list[int](), dict[int, Path](), dict[int, Any]()
        self._stop_at = stop_at
        order: Any = "order"
        Pool(order, n_workers).run(self._jobs(words), self._begin, self._end, lambda: self._stop_at in self.began)

    def _jobs(self, words: list[str]) -> Iterator[Job]:
        for number, word in enumerate(words):
            self.asked.append(number)
            yield Job(number, [word])

    def _begin(self, job: Job, directory: Path) -> None:
        self.began[job.number] = directory

    def _end(self, job: Job, message: Ended | Died) -> None:
        self.ended[job.number] = message


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_pool, "work", light_work)
    monkeypatch.setattr(sweep_pool, "REFRESH", 0.02)


def test_a_killed_worker_loses_only_its_own_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ran = Ran(1, ["value=a", "die", "value=b", "value=c"])
    assert ran.began == {number: Path(f"order-{number}") for number in range(4)}
    assert ran.ended[1] == Died(-signal.SIGKILL)
    values = [ran.ended[number].value for number in (0, 2, 3)]
    assert [(value, threads) for value, _, threads in values] == [("a", "1"), ("b", "1"), ("c", "1")]
    first, second, third = (process for _, process, _ in values)
    assert first != second == third
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_an_interrupt_ends_running_jobs_and_begins_no_other() -> None:
    ran = Ran(1, ["wait", "value=a"], stop_at=0)
    assert ran.ended == {0: Ended(is_interrupted=True)}
    assert ran.asked == [0]


def test_a_stopped_job_leaves_its_worker_to_the_next() -> None:
    ended: dict[int, Any] = {}
    order: Any = "order"
    pool = Pool(order, 1)
    jobs = iter([Job(0, ["wait"]), Job(1, ["value=a"])])
    pool.run(jobs, lambda job, directory: pool.stop(0), lambda job, message: ended.update({job.number: message}), bool)
    assert ended[0] == Ended(is_interrupted=True)
    assert ended[1].value[0] == "a"


def test_an_error_in_the_parent_leaves_no_process() -> None:
    class Stop(Exception):
        pass

    def stop() -> bool:
        raise Stop

    order: Any = "order"
    with pytest.raises(Stop):
        Pool(order, 1).run(iter([Job(0, ["wait"])]), lambda job, directory: None, lambda job, message: None, stop)


def test_cores_are_shared_among_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebm_cli.cli.sweep_cores.n_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_of_a_job(n) for n in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [threads_of_a_job(n) for n in (1, 2, 3, 8)] == [3, 3, 2, 1]


def test_the_number_of_jobs_is_auto_or_a_count() -> None:
    assert (worker_count("auto"), worker_count(3)) == (n_cores(), 3)
    for wrong in (0, -1, 1.5, True, "many", None):
        with pytest.raises(UserError, match="the number of jobs at a time, >= 1, or auto"):
            worker_count(wrong)
