"""Overrides as typed, and as Hydra reads them."""

import pytest

from ebm_cli.cli.overrides import prepare
from ebm_cli.errors import UserError
from tests.support import Ebm, StandIn


def test_nested_groups_are_spelled_as_hydra_reads_them() -> None:
    typed = ["eval.sampler=tempering", "eval.sampler.kernel=hmc", "sampler.kernel=hmc", "sampler.kernel.step_size=0.1"]
    words, _ = prepare("train", typed)
    spelled = ["sampler@eval.sampler=tempering", "sampler@eval.sampler.kernel=hmc", "sampler@sampler.kernel=hmc"]
    assert words == [*spelled, "sampler.kernel.step_size=0.1"]


def test_jobs_choose_the_launcher_of_processes() -> None:
    words, _ = prepare("train", ["-m", "seed=1,2", "jobs=2"])
    assert words == ["-m", "seed=1,2", "hydra/launcher=processes", "hydra.launcher.jobs=2"]
    with pytest.raises(UserError, match="in processes of this machine, and hydra/launcher=joblib elsewhere: type one"):
        prepare("train", ["-m", "jobs=2", "hydra/launcher=joblib"])
    with pytest.raises(UserError, match=r"jobs=2,3: one number of jobs at a time, such as jobs=2"):
        prepare("train", ["-m", "seed=1,2", "jobs=2,3"])


def test_jobs_of_replicas_are_for_their_evaluations() -> None:
    words, _ = prepare("train", ["replicas=3", "jobs=2"])
    assert words == ["--multirun", "hydra/launcher=replicas", "seed=range(0,3)", "hydra.launcher.jobs=2"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("jobs=2",), "ebm: jobs: one run is one job; add -m and several values (seed=1,2) for a sweep"),
        (("-m", "seed=1,2", "jobs=0"), "ebm: jobs=0: the number of jobs at a time, >= 1, or auto (one a core)"),
    ],
)
def test_jobs_that_cannot_be_are_refused(ebm: Ebm, stand_in: StandIn, words: tuple[str, ...], line: str) -> None:
    stand_in("train")
    ran = ebm("train", *words)
    assert (ran.code, ran.err.splitlines()) == (1, [line])
