"""Final evaluations of replicas in other processes: who gets what, deaths, signals; the bits are in `test_replicas`."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from ebm_cli.cli.worker import Worker
from ebm_cli.errors import ProcessLost, UserError
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.suite import Evaluation
from ebm_cli.replicas import evaluators
from ebm_cli.replicas.evaluators import Evaluators, Failed, Stage
from ebm_cli.runs.signals import Interrupted, Signals
from ebm_cli.training.final_evaluation import Measured, Stored


class Thread(Worker[Any]):
    """A worker in a thread: `die` closes its connection, `fail` and `break` fail, other words are measured."""

    running: ClassVar[set[str]] = set()
    most: ClassVar[int] = 0
    made: ClassVar[list["Thread"]] = []
    gate = threading.Event()

    def __init__(self, work: Callable[..., None], arguments: tuple[Any, ...], n_threads: int) -> None:
        self.connection, theirs = Pipe()
        self.process: Any = SimpleNamespace(join=lambda: None, exitcode=-9)
        self.task, self.n_threads, self.patience = None, n_threads, [float("nan")]
        Thread.made.append(self)
        threading.Thread(target=self._act, args=(theirs,), daemon=True).start()

    def close(self, patience: float | None = None) -> None:
        self.patience.append(-1.0 if patience is None else patience)
        self.connection.close()

    def _act(self, connection: Connection) -> None:
        with suppress(EOFError, OSError):
            while True:
                _, stored = connection.recv()
                word = stored.file.name
                Thread.running.add(word)
                Thread.most = max(Thread.most, len(Thread.running))
                connection.send(Stage("samples", 1, 2))
                Thread.gate.wait(5)
                Thread.running.remove(word)
                if word == "die":
                    connection.close()
                failures = {"fail": Failed("no such file"), "break": Failed("KeyError: 1", "Traceback …")}
                connection.send(failures.get(word, measured(word)))


def measured(word: str) -> Measured:
    return Measured(Evaluation(Results({"eval/kl": word}), None), 1.0)


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluators, "Worker", Thread)
    monkeypatch.setattr(evaluators, "REFRESH", 0.01)
    Thread.made, Thread.most, Thread.running = [], 0, set()
    Thread.gate.set()


def evaluated(words: list[str], n: int) -> tuple[dict[int, Any], list[tuple[int, Stage]]]:
    """The answers for runs with these words, by their numbers, and the stages that were heard of."""
    found, stages = dict[int, Any](), list[tuple[int, Stage]]()
    with Evaluators(n, 1, "auto", Signals()) as processes:
        for number, word in enumerate(words):
            processes.give(number, Stored(Path(word), "cpu", "never", ()))
        while len(found) < len(words):
            for number, message in processes.collect(waits=True):
                if isinstance(message, Stage):
                    stages.append((number, message))
                else:
                    found[number] = message
    return found, stages


def test_each_run_gets_its_own_evaluation() -> None:
    words = ["a", "b", "c", "d", "e"]
    found, stages = evaluated(words, 2)
    assert found == {number: measured(word) for number, word in enumerate(words)}
    assert sorted(stages) == [(number, Stage("samples", 1, 2)) for number in range(5)]
    assert Thread.most <= len(Thread.made) == 2
    assert [worker.patience[-1] for worker in Thread.made] == [evaluators.PATIENCE] * 2


def test_killed_process_loses_its_own_evaluation_only() -> None:
    found, _ = evaluated(["die", "b", "c"], 1)
    assert isinstance(found[0], ProcessLost)
    assert "was killed by signal 9" in str(found[0])
    assert [found[1], found[2]] == [measured("b"), measured("c")]
    assert len(Thread.made) == 2


def test_errors_of_an_evaluation_are_its_run_s() -> None:
    found, _ = evaluated(["fail", "break", "c"], 1)
    assert isinstance(found[0], UserError)
    assert str(found[0]) == "no such file"
    assert isinstance(found[1], RuntimeError)
    assert (str(found[1]), found[1].__notes__) == ("KeyError: 1", ["Traceback …"])
    assert found[2] == measured("c")


def test_signal_ends_evaluations_once_no_run_trains() -> None:
    signals = Signals()
    Thread.gate.clear()
    with Evaluators(1, 1, "auto", signals) as processes:
        processes.give(0, Stored(Path("a"), "cpu", "never", ()))
        signals.received = int(signal.SIGTERM)
        processes.collect(waits=False)
        with pytest.raises(Interrupted) as interrupted:
            processes.collect(waits=True)
    assert interrupted.value.number == signal.SIGTERM
    # Its task is lost: it is not waited for.
    assert Thread.made[0].patience[-1] == 0.0
    Thread.gate.set()
