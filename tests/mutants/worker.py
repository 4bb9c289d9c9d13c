"""A worker runs tests on mutated sources: it imports the slow libraries once, and forks for each mutant.

`python -m tests.mutants.worker` in a copy of the tree reads `[path, source, [[test, seconds], …]]` lines from its input
and answers `[outcome, test]` lines: killed, timeout (killed by its duration) or survived.
"""

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

SLOW_TO_IMPORT = (
    "torch",
    "scipy.stats",
    "sklearn.datasets",
    "hydra",
    "hypothesis",
    "matplotlib.pyplot",
    "rich",
    "zuko",
)
COLLECTION = "the import of the tests"
"""Reported in place of a test if the tests cannot even be imported."""
MEMORY = 8 * 2**30
"""Limit of the memory of one mutant in bytes: a wrong shape can ask for any amount."""


class Watchdog:
    """Ends the process if a test takes 20 s plus ten times its usual duration; writes the name of the running test."""

    def __init__(self, seconds: dict[str, float], current: Path) -> None:
        self.seconds, self.current = seconds, current

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.current.write_text(item.nodeid)
        signal.alarm(int(20 + 10 * self.seconds.get(item.nodeid, 1.0)))
        try:
            return (yield)
        finally:
            signal.alarm(0)


def run_tests(tests: list[tuple[str, float]], log: Path, *more: str) -> tuple[str, str]:
    """Run tests on the tree in its present state; the outcome, and the test that decided it."""
    current = log.with_suffix(".test")
    current.write_text(COLLECTION)
    child = os.fork()
    if not child:
        _child(tests, log, current, *more)
    deadline = time.monotonic() + 120 + 10 * sum(seconds for _, seconds in tests)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    with suppress(ProcessLookupError):  # with the processes that the tests started
        os.killpg(child, signal.SIGKILL)
    if not done:
        os.waitpid(child, 0)
        return "timeout", current.read_text()
    if os.WIFSIGNALED(status):
        return ("timeout" if os.WTERMSIG(status) == signal.SIGALRM else "killed"), current.read_text()
    return ("survived", "") if os.WEXITSTATUS(status) == 0 else ("killed", current.read_text())


def _child(tests: list[tuple[str, float]], log: Path, current: Path, *more: str) -> None:
    """Run pytest in the forked process, which then ends with its exit code."""
    code = 70
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # hypothesis is a plugin of pytest that is imported already, of which pytest would warn.
        words = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = int(pytest.main([*words, *more, *(test for test, _ in tests)], plugins=[Watchdog(dict(tests), current)]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    for name in SLOW_TO_IMPORT:
        import_module(name)
    import_module("torch").set_num_threads(1)
    trusted: set[str] = set()
    log, tick = Path("mutant.log").resolve(), int(time.time())
    for line in sys.stdin:
        name, source, tests = json.loads(line)
        path, tick = Path(name), tick + 10
        original = path.read_text()
        seconds = dict(tests)
        while True:
            _write(path, source, tick)
            outcome, test = run_tests(list(seconds.items()), log)
            tick += 10
            _write(path, original, tick)
            if outcome == "survived" or test in trusted:
                break
            # A failure counts only if the same test passes, here, on the unchanged source.
            control = log.with_suffix(".control")
            if test == COLLECTION:
                if run_tests(list(seconds.items()), control, "--collect-only")[0] != "survived":
                    raise RuntimeError(f"the tests cannot be collected on the unchanged source: {control}")
                break
            if run_tests([(test, seconds.get(test, 1.0))], control)[0] == "survived":
                trusted.add(test)
                break
            seconds.pop(test)
        print(json.dumps([outcome, test]), flush=True)


def _write(path: Path, text: str, tick: int) -> None:
    """Write a source with a new modification time: Python caches compiled code by the second and the size."""
    path.write_text(text)
    os.utime(path, (tick, tick))


if __name__ == "__main__":
    main()
