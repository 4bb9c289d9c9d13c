"""A pytest plugin, loaded with `-p`: labels coverage with the running test, and writes the outcome of each test.

Tests are charged seconds of processor time, of their child processes too, which depend little on the load of the
machine: the same tests are chosen for a mutant on a busy machine as on a free one.
"""

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import coverage
import pytest

OUTCOMES = "MUTANTS_OUTCOMES"
"""Environment variable with the path of the file to write: node id → [seconds, passed]."""

_outcomes: dict[str, tuple[float, bool]] = {}
_spent = 0.0
"""Processor time of this process when the last phase of a test (set-up, call, tear-down) ended, in seconds."""


def _processor_time() -> float:
    """Seconds of processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _spent
    measured, _spent = coverage.Coverage.current(), _processor_time()
    if measured is not None:
        measured.switch_context(item.nodeid)
    try:
        return (yield)
    finally:
        if measured is not None:
            measured.switch_context("")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    global _spent
    report = yield
    before, _spent = _spent, _processor_time()
    report.duration = _spent - before
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    seconds, passed = _outcomes.get(report.nodeid, (0.0, True))
    # A test that is skipped, or fails as expected, kills no mutant.
    _outcomes[report.nodeid] = (seconds + report.duration, passed and report.passed)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        Path(os.environ[OUTCOMES]).write_text(json.dumps(_outcomes))
