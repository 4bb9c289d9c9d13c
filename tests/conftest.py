"""Fixtures of all tests: one thread, and the command run in this process from an empty folder."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

# Read when numpy is loaded: two processes of tests, each with as many threads as cores, wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
import torch

from tests.quick_hydra import quicken
from tests.support import Ebm, Ran, StandIn


def pytest_collection_finish() -> None:
    """Search for garbage seldom, and not among what was imported: such searches take a tenth of a small run."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _quick_hydra() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        quicken(patched)
        yield


@pytest.fixture(autouse=True, scope="session")
def _interpolations_resolve() -> None:
    """Also where a test composes a config itself, as the command does it."""
    from ebm_cli.cli.resolvers import register_resolvers
    from ebm_cli.config.groups import search_path

    register_resolvers(search_path())


@pytest.fixture
def ebm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Ebm]:
    """Runs `ebm ...` in an empty current folder: its exit code and what it printed."""
    from ebm_cli.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(*words: str) -> Ran:
        capfd.readouterr()
        code = main(words)
        return Ran(code, *capfd.readouterr())

    return run


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Puts a function in a verb's place, with hooks beside it; gives the list of configs that it was called with."""

    def put(verb: str, task: Callable[[Any], Any] = lambda cfg: None, **hooks: Callable[..., Any]) -> list[Any]:
        module = ModuleType(f"ebm_cli.commands.{verb}")
        seen: list[Any] = []

        def recorded(cfg: Any) -> Any:
            seen.append(cfg)
            return task(cfg)

        vars(module).update({verb: recorded, **hooks})
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return seen

    return put
