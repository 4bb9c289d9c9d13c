"""Private names of Hydra: one test each that fails on a version that changed it, and the fallback without them.

Hydra's own parser is private, too; `cli/flags.py` declares its flags a second time, and is compared with it here.
"""

import argparse
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.cli import hydra_internals
from ebm_cli.cli.flags import ARGUMENTS
from tests.support import Ebm, StandIn


def test_split_arguments_lists_the_jobs_of_a_grid() -> None:
    """`hydra._internal.core_plugins.basic_sweeper.BasicSweeper.split_arguments`."""
    assert hydra_internals.split_arguments is not None
    jobs = hydra_internals.grid_jobs(["seed=1,2", "method=nce,cd", "steps=9"])
    assert jobs == [[f"seed={seed}", f"method={method}", "steps=9"] for seed in (1, 2) for method in ("nce", "cd")]


def test_flags_equal_those_of_hydras_parser() -> None:
    """`hydra._internal.utils.get_args_parser`, which our table of flags repeats."""
    from hydra._internal.utils import get_args_parser

    parser = argparse.ArgumentParser(add_help=False)
    for names, given in ARGUMENTS.items():
        parser.add_argument(*names, **given)

    def flags(found: argparse.ArgumentParser) -> dict[tuple[str, ...], tuple[Any, ...]]:
        actions = [action for action in found._actions if action.option_strings and action.dest != "version"]
        return {
            tuple(action.option_strings): (action.nargs, action.const, tuple(action.choices or ()))
            for action in actions
        }

    assert flags(parser) == flags(get_args_parser())
    assert ("--version",) in ARGUMENTS


@pytest.fixture
def _without_private_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of Hydra without the names of `hydra_internals`."""
    monkeypatch.setattr(hydra_internals, "split_arguments", None)


def test_find_returns_none_for_a_missing_name() -> None:
    assert hydra_internals._find("hydra._internal.no_such_module", "Name") is None
    assert hydra_internals._find("hydra._internal.core_plugins.basic_sweeper", "BasicSweeper.no_such_name") is None


@pytest.mark.usefixtures("_without_private_names")
def test_run_works_without_private_names(ebm: Ebm, stand_in: StandIn) -> None:
    seen = stand_in("train")
    assert ebm("train", "steps=7").code == 0
    assert [cfg.steps for cfg in seen] == [7]
    assert ebm("train", "stepz=7").err == "ebm: stepz: no such key; did you mean steps?\n"
    assert ebm("train", "--multirnu").err == "ebm: no flag '--multirnu'; did you mean --multirun?\n"


@pytest.mark.usefixtures("_without_private_names")
def test_sweep_validates_each_job_without_private_names(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    """Each job is validated as it starts, as for a sweeper that is no grid: the first wrong one ends the sweep."""
    seen = stand_in("train")
    assert ebm("train", "-m", "seed=1,2", "hydra.sweep.dir=right").code == 0
    assert [cfg.seed for cfg in seen] == [1, 2]
    ran = ebm("train", "-m", "steps=5,0,6", "hydra.sweep.dir=wrong")
    assert (ran.code, ran.err) == (1, "ebm: steps must be >= 1, got 0\n")
    assert [cfg.steps for cfg in seen[2:]] == [5]


@pytest.mark.usefixtures("_without_private_names")
def test_sweep_keeps_failures_without_private_names(ebm: Ebm, stand_in: StandIn) -> None:
    def task(cfg: Any) -> None:
        if cfg.seed == 1:
            raise ZeroDivisionError("of a test")

    seen = stand_in("train", task)
    ran = ebm("train", "-m", "seed=1,2")
    assert ran.code == 1
    assert [cfg.seed for cfg in seen] == [1, 2]
    assert "ebm: 1 job failed; rerun " in ran.err
