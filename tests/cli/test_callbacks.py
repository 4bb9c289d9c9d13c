"""The callback `Validate`: hooks run before the directory exists, and a sweep starts only if all its jobs are right."""

from pathlib import Path
from typing import Any

import pytest

from ebm_cli.errors import UserError
from tests.support import Ebm, StandIn


def test_valid_run_gets_a_directory_of_its_own(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    seen = stand_in("train")
    assert ebm("train", "steps=7").code == 0
    assert [cfg.steps for cfg in seen] == [7]
    assert [path.name for path in tmp_path.glob("outputs/train/*/*/.hydra/config.yaml")] == ["config.yaml"]
    assert [path.name for path in tmp_path.glob("outputs/train/*/*/train.log")] == ["train.log"]


def test_hooks_run_before_the_directory_exists(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    calls: list[Any] = []

    def reserve(cfg: Any, run_dir: Path, *, lock: bool) -> None:
        calls.append(("reserve", run_dir, lock, run_dir.exists()))

    stand_in("train", lambda cfg: calls.append("train"), validate=lambda cfg: calls.append("validate"), reserve=reserve)
    assert ebm("train", "hydra.run.dir=here").code == 0
    assert calls == ["validate", ("reserve", tmp_path / "here", True, False), "train"]


@pytest.mark.parametrize("hook", ["validate", "reserve"])
def test_hook_refuses_before_the_directory_exists(ebm: Ebm, stand_in: StandIn, tmp_path: Path, hook: str) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise UserError("taken")

    seen = stand_in("train", **{hook: refuse})
    for words in ([], ["-m", "seed=1,2"]):
        ran = ebm("train", *words)
        assert (ran.code, ran.err, seen) == (1, "ebm: taken\n", [])
        assert list(tmp_path.iterdir()) == []


def test_sweep_runs_every_job(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    reserved: list[Any] = []
    finalized: list[Path] = []
    seen = stand_in(
        "train",
        reserve=lambda cfg, path, lock: reserved.append((path.name, lock)),
        finalize=lambda cfg, sweep_dir: finalized.append(sweep_dir),
    )
    assert ebm("train", "-m", "seed=1,2", "sampler=hmc,langevin").code == 0
    assert [(cfg.seed, cfg.sampler._target_.rpartition(".")[2]) for cfg in seen] == [
        (1, "HMC"), (1, "Langevin"), (2, "HMC"), (2, "Langevin"),
    ]  # fmt: skip
    assert reserved == [("0", False), ("1", False), ("2", False), ("3", False)]
    assert finalized == [path.parent for path in tmp_path.glob("outputs/multirun/*/*/0")]
    assert sorted(path.name for path in tmp_path.glob("outputs/multirun/*/*/*/train.log")) == ["train.log"] * 4


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("sampler.step_size=0.1,-1", "ebm: sampler.step_size must be > 0, got -1"),
        ("method=nce,ncee", "ebm: method=ncee: no such option; did you mean nce? ("),
    ],
)
def test_sweep_with_one_wrong_job_runs_none(ebm: Ebm, stand_in: StandIn, tmp_path: Path, word: str, line: str) -> None:
    seen = stand_in("train")
    ran = ebm("train", "-m", word)
    assert ran.err.startswith(line)
    assert (ran.code, len(ran.err.splitlines()), seen) == (1, 1, [])
    assert list(tmp_path.iterdir()) == []
