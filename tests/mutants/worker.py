"""Runs tests on a mutated source: a process that has imported what is slow to import, and forks for each mutant.

`python -m tests.mutants.worker` in a copy of the tree reads `[path, source, [[test, seconds], …]]` lines from its input
and answers `[outcome, test]` lines: killed, killed by its time, or survived.
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
MEMORY = 8 * 2**30
"""Bytes of data of one mutant: a shape that is wrong may ask for all that there is."""


class Watch:
    """Ends the process when a test takes ten times its usual seconds, and 20; keeps the name of what failed."""

    def __init__(self, seconds: dict[str, float], said: Path) -> None:
        self.seconds, self.said = seconds, said

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.said.write_text(item.nodeid)
        signal.alarm(int(20 + 10 * self.seconds.get(item.nodeid, 1.0)))
        try:
            return (yield)
        finally:
            signal.alarm(0)


def run(tests: list[tuple[str, float]], log: Path, *more: str) -> tuple[str, str]:
    """The outcome of the tests on the tree as it lies, and the test that decided it."""
    said = log.with_suffix(".test")
    said.write_text(COLLECTION)
    child = os.fork()
    if not child:
        _child(tests, log, said, *more)
    deadline = time.monotonic() + 120 + 10 * sum(seconds for _, seconds in tests)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    with suppress(ProcessLookupError):  # what the tests started, too
        os.killpg(child, signal.SIGKILL)
    if not done:
        os.waitpid(child, 0)
        return "timeout", said.read_text()
    if os.WIFSIGNALED(status):
        return ("timeout" if os.WTERMSIG(status) == signal.SIGALRM else "killed"), said.read_text()
    return ("survived", "") if os.WEXITSTATUS(status) == 0 else ("killed", said.read_text())


def _child(tests: list[tuple[str, float]], log: Path, said: Path, *more: str) -> None:
    code = 70
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # hypothesis is a plugin of pytest, and imported before it.
        words = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = int(pytest.main([*words, *more, *(test for test, _ in tests)], plugins=[Watch(dict(tests), said)]))
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
    believed: set[str] = set()
    log, tick = Path("mutant.log").resolve(), int(time.time())
    for line in sys.stdin:
        name, source, tests = json.loads(line)
        path, tick = Path(name), tick + 10
        original = path.read_text()
        seconds = dict(tests)
        while True:
            _write(path, source, tick)
            outcome, test = run(list(seconds.items()), log)
            tick += 10
            _write(path, original, tick)
            if outcome == "survived" or test in believed:
                break
            # A failure is believed when the same passes, here, on the source as it is.
            control = log.with_suffix(".control")
            if test == COLLECTION:
                if run(list(seconds.items()), control, "--collect-only")[0] != "survived":
                    raise RuntimeError(f"the tests are not found on the source as it is: {control}")
                break
            if run([(test, seconds.get(test, 1.0))], control)[0] == "survived":
                believed.add(test)
                break
            seconds.pop(test)
        print(json.dumps([outcome, test]), flush=True)


def _write(path: Path, text: str, tick: int) -> None:
    """A time of its own for each text: Python keeps compiled code by the second and the size."""
    path.write_text(text)
    os.utime(path, (tick, tick))


if __name__ == "__main__":
    main()
