"""A pytest plugin, loaded with `-p`: labels coverage with the running test, and writes the outcome of each test."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

OUTCOMES = "MUTANTS_OUTCOMES"
"""Environment variable with the path of the file to write: node id → [seconds, passed]."""

_outcomes: dict[str, tuple[float, bool]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    measured = coverage.Coverage.current()
    if measured is not None:
        measured.switch_context(item.nodeid)
    try:
        return (yield)
    finally:
        if measured is not None:
            measured.switch_context("")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    seconds, passed = _outcomes.get(report.nodeid, (0.0, True))
    # A test that is skipped, or fails as expected, kills no mutant.
    _outcomes[report.nodeid] = (seconds + report.duration, passed and report.passed)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        Path(os.environ[OUTCOMES]).write_text(json.dumps(_outcomes))
