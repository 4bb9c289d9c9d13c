"""`train` and `evaluate` inside another program: what they return, raise and leave."""

import asyncio
import gc
import json
import logging
import os
import random
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import ebm_cli
from ebm_cli.errors import NotTrustworthy
from ebm_cli.runs.model import load
from ebm_cli.training.trainer import Trainer
from tests.support import FAST, REPO, Ebm, StandIn, differences, no_pictures

WORDS = (*FAST, "steps=3")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    no_pictures(monkeypatch)


def state() -> dict[str, Any]:
    """The state that a call has to leave as it was."""
    root = logging.getLogger()
    loggers = {name: logging.getLogger(name) for name in ("hydra", "ebm_cli", "torch", "mine")}
    return {
        "folder": Path.cwd(),
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "places": list(sys.path),
        "words": list(sys.argv),
        "screen": (id(sys.stdout), id(sys.stderr)),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)],
        "root": (root.level, list(root.handlers), logging.raiseExceptions, logging.lastResort),
        "loggers": {name: (each.level, list(each.handlers), each.propagate) for name, each in loggers.items()},
        "warnings": (list(warnings.filters), warnings.showwarning),
        "garbage": gc.isenabled(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),  # noqa: NPY002
        "hydra": (GlobalHydra.instance().hydra, HydraConfig.instance().cfg),
        "store": sorted(ConfigStore.instance().repo["hydra"]),
        "groups": sorted(ConfigStore.instance().repo),
        "resolvers": [OmegaConf.has_resolver(name) for name in ("ebm_beside", "now", "mine")],
    }


@pytest.fixture
def unchanged() -> Iterator[None]:
    """The test leaves the process as it was; logging, threads, dtype and Hydra are not at their defaults."""
    handler, threads = logging.FileHandler("mine.log", mode="w"), torch.get_num_threads()
    logger = logging.getLogger("mine")
    logger.addHandler(handler)
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    OmegaConf.register_new_resolver("mine", lambda: 1, replace=True)
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        before = state()
        try:
            yield
            after = state()
            assert {key: (value, before[key]) for key, value in after.items() if value != before[key]} == {}
            logger.error("still written")
            assert compose("density").n_chains == 1000
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(torch.float32)
            OmegaConf.clear_resolver("mine")
            logger.removeHandler(handler)
            handler.close()
    assert Path("mine.log").read_text() == "still written\n"


def test_run_is_that_of_the_verb(ebm: Ebm, capfd: pytest.CaptureFixture[str]) -> None:
    run = ebm_cli.train(*WORDS, "hydra.run.dir=here")
    assert "gaussian: 3 steps" in capfd.readouterr().out
    assert ebm("train", *WORDS, "hydra.run.dir=there").code == 0
    ours, theirs = load("here").energy.state_dict(), load("there").energy.state_dict()
    assert differences(dict(ours), dict(theirs)) == []
    assert (run.path, run.state, run.step) == (Path("here").absolute(), "finished", 3)
    assert run.results == json.loads(Path("here/results.json").read_text())
    assert (run.config.steps, run.config.dataset.density.dim) == (3, 3)
    again = ebm_cli.train(*WORDS, "hydra.run.dir=here", quiet=True)
    assert (again.path, again.step) == (run.path, 3)


@pytest.mark.slow
@pytest.mark.usefixtures("unchanged")
def test_process_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    """Twice, and with the evaluation and the samples of the run."""
    for seed in (0, 1):
        run = ebm_cli.train(*WORDS, f"seed={seed}", quiet=True)
        report = ebm_cli.evaluate(run, *FAST[4:6], "metrics=[score]", "eval.n_samples=20", quiet=True)
        assert report.results["eval/fisher"] == run.results["eval/fisher"]
        assert report.path.parent == run.path / "evaluate"
        run.model().sample(2, "burn_in=1")
    assert capfd.readouterr() == ("", "")


FAILURES: dict[str, tuple[tuple[str, ...], str]] = {
    "key": (("methd=nce",), "methd: no such key; did you mean method?"),
    "option": (("method=ncee",), "method=ncee: no such option; did you mean nce?"),
    "value": (("steps=-1",), "steps must be >= 1, got -1"),
    "file": (("dataset=file", "dataset.path=no.csv"), "no.csv"),
    "sweep": (("-m", "seed=1,2"), "--multirun: a sweep is many runs"),
    "several": (("seed=1,2",), "seed=1,2: names several values"),
    "flag": (("--cfg", "job"), "--cfg: of the flags, a function takes --config-dir only"),
}


@pytest.mark.usefixtures("unchanged")
def test_mistakes_are_raised_with_the_words_of_the_verb() -> None:
    for words, message in FAILURES.values():
        with pytest.raises(ebm_cli.UserError, match=re.escape(message)):
            ebm_cli.train(*words)
    with pytest.raises(ebm_cli.UserError, match="12: an override is a text"):
        ebm_cli.train(12)  # type: ignore[arg-type]
    with pytest.raises(ebm_cli.UserError, match="nowhere: no such file or directory"):
        ebm_cli.evaluate("nowhere")
    assert [path.name for path in Path.cwd().iterdir()] == ["mine.log"]


@pytest.mark.usefixtures("unchanged")
def test_unexpected_errors_keep_their_traceback(stand_in: StandIn) -> None:
    stand_in("train", lambda cfg: [][1])
    with pytest.raises(ebm_cli.UserError, match="IndexError: list index out of range") as caught:
        ebm_cli.train(*WORDS)
    assert isinstance(caught.value.__cause__, IndexError)


@pytest.mark.usefixtures("unchanged")
def test_untrustworthy_run_is_raised_with_its_directory(stand_in: StandIn) -> None:
    def fail(cfg: Any) -> None:
        raise NotTrustworthy("chains never moved")

    stand_in("train", fail)
    with pytest.raises(NotTrustworthy, match="chains never moved") as caught:
        ebm_cli.train(*WORDS, "hydra.run.dir=run")
    assert str(caught.value) == "chains never moved"
    assert caught.value.__notes__ == [f"Its files are in {Path('run').absolute()}"]


@pytest.mark.usefixtures("unchanged")
def test_ctrl_c_leaves_a_run_that_can_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    advance = Trainer.advance

    def interrupted(trainer: Trainer) -> Any:
        if trainer.step == 2:
            signal.raise_signal(signal.SIGINT)
        return advance(trainer)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "advance", interrupted)
        with pytest.raises(KeyboardInterrupt, match="SIGINT") as caught:
            ebm_cli.train(*FAST, "steps=5", "hydra.run.dir=run", quiet=True)
    assert caught.value.__notes__ == [f"Its files are in {Path('run').absolute()}"]
    assert (ebm_cli.Run("run").state, ebm_cli.Run("run").results) == ("interrupted", {})
    run = ebm_cli.train("checkpoint=run", quiet=True)
    assert (run.state, run.step) == ("finished", 5)


@pytest.mark.usefixtures("unchanged")
def test_it_works_inside_a_running_event_loop() -> None:
    async def cell() -> ebm_cli.Run:
        return ebm_cli.train(*WORDS, quiet=True)

    assert asyncio.run(cell()).state == "finished"


@pytest.mark.usefixtures("unchanged")
def test_threads_take_turns() -> None:
    """Outside of the main thread no handler of a signal can be set."""
    found: dict[int, ebm_cli.Run] = {}

    def work(seed: int) -> None:
        found[seed] = ebm_cli.train(*WORDS, f"seed={seed}", quiet=True)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed].config.seed for seed in (1, 2)] == [1, 2]
    assert found[1].path != found[2].path


@pytest.mark.slow
def test_run_and_report_are_shown_in_a_few_lines() -> None:
    run = ebm_cli.train(*WORDS, "metrics=[density]", quiet=True)
    line = repr(run)
    assert re.fullmatch(r"Run\('.*': nce on gaussian, finished at step 3, KL [\d.e-]+ nats, \w+\)", line)
    html = run._repr_html_()
    assert "nce on gaussian, finished at step 3" in html
    assert html.count("<tr>") in range(3, 10)
    assert "<script" not in html
    report = ebm_cli.evaluate(run, "eval.n_samples=20", "metrics=[density]", quiet=True)
    assert repr(report).startswith(f"Report('{report.path}', KL ")
    with pytest.raises(ebm_cli.UserError, match="nowhere: no directory of a run"):
        ebm_cli.Run("nowhere")
