"""Error messages: one line, the right exit code, and nothing written."""

import os
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.errors import UserError
from tests.support import Ebm, StandIn


class Diverges(Exception):
    exit_code = 3


def fail_with(error: BaseException) -> Any:
    def task(cfg: Any) -> None:
        raise error

    return task


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("method=ncee", "method=ncee: no such option; did you mean nce? (bridges, cd, "),
        ("dataset=mons", "dataset=mons: no such option; did you mean moons? (banana, "),
        ("sampler=ULA", "sampler=ULA: no such option; it is called langevin here (hmc, "),
        ("eval.sampler=mla", "eval.sampler=mla: no such option; did you mean mala? (hmc, "),
        ("method=null", "method=null: method takes the name of an option (bridges, cd, "),
        ("methd=nce", "methd: no such key; did you mean method?"),
        ("stepz=3", "stepz: no such key; did you mean steps?"),
        ("qqqq=3", "qqqq: no such key; see ebm train --help"),
        ("n_trials=3", "n_trials: no such key here; it is one of hydra/sweeper=optuna: type -m hydra/sweeper=optuna "),
        ("+stepz=3", "stepz: no such key; did you mean steps?"),
        ("ranks=2", "ranks: no such key; did you mean parallel.ranks?"),
        ("+ranks=2", "ranks: no such key; did you mean parallel.ranks?"),
        ("energy.layers=3", "energy.layers: no such key in energy; did you mean depth?"),
        ("dataset=my.csv", "dataset=my.csv: no such option; write dataset=file dataset.path=my.csv"),
        ("energy.widht=3", "energy.widht: no such key in energy; did you mean width?"),
        ("+energy.widht=3", "energy.widht: no such key in MLP; did you mean width?"),
        ("seed=interval(1)", "seed=interval(1): missing a required argument: 'end'"),
        ("seed=uniform(1,2)", "seed=uniform(1,2): no function uniform; there are range(start,stop,step) and, for a "),
        ("seed=interval(1,2)", "seed=interval(1,2): names an interval, which is searched with -m hydra/sweeper=optuna"),
        ("hydra/sweeper=optuna", "hydra/sweeper=optuna: one run searches nothing; add -m and an interval, such as "),
        ("steps", "steps: a key is set with steps=VALUE"),
        ("steps==3", "steps must be a whole number, got '=3'"),
        ("steps=[3", "steps=[3: cannot be read as key=value; if the value is one text, quote it: \"steps='[3'\""),
        (
            "steps=[T (°C),'p q',r]",
            "steps=[T (°C),'p q',r]: cannot be read as key=value; quote the texts of the list: "
            "\"steps=['T (°C)','p q',r]\"",
        ),
        ("hydra.job.name=${a}", "hydra: Interpolation key 'a' not found"),
        ("hydra.launcher.n_jobs=2", "hydra.launcher.n_jobs: no such key of the chosen launcher; hydra/launcher=NAME "),
        ("hydra/job_logging=xx", "hydra/job_logging=xx: no such option (default, "),
        ("seed=0,1", "seed=0,1: names several values; add -m to sweep over them, or write seed=[0,1] for a list"),
        (
            "sampler.kernel=hmc",
            "sampler.kernel: only tempering moves its replicas by another sampler; add sampler=temper",
        ),
        ("polish.lr=1e-4", "polish.lr: no polish is chosen; add polish=NAME (ed, jarzynski, nce)"),
        ("eval.ood.path=a", "eval.ood.path: no eval.ood is chosen; add eval.ood=NAME (banana, "),
        ("steps=abc", "steps must be a whole number, got 'abc'"),
        ("steps=2.5", "steps must be a whole number, got 2.5"),
        ("steps=true", "steps must be a whole number, got True"),
        ("steps=1e3", "steps must be a whole number, got 1000.0; write 1000"),
        ("monitor=", "monitor= has no value; it takes: result that selects best.pt, "),
        ("steps=null", "steps must be a whole number, got None"),
        ("steps=0", "steps must be >= 1, got 0"),
        ("batch_size=-1", "batch_size must be >= 1, got -1"),
        ("max_seconds=0", "max_seconds must be > 0, got 0"),
        ("ema=1", "ema must be >= 0 and < 1, got 1"),
        ("optimizer.lr=nan", "optimizer.lr must be finite and > 0, got nan"),
        ("optimizer.lr=abc", "optimizer.lr must be a number, got 'abc'"),
        ("optimizer.betas=[.9]", "optimizer.betas must be a list of numbers, got [0.9]"),
        ("optimizer.betas=[nan,.9]", "optimizer.betas must be finite, got [nan, 0.9]"),
        ("ema=nan", "ema must be a number, got nan"),
        ("guard=rollbak", "guard must be one of stop, rollback, ignore, got 'rollbak'; did you mean rollback?"),
        ("device=cdua", "device must be one of auto, cpu, cuda, mps, got 'cdua'; did you mean cuda?"),
        ("threads=0", "threads must be >= 1, got 0"),
        ("trust=my_package", "trust must be a list of texts, got 'my_package'"),
        ("sampler.step_size=-1.0", "sampler.step_size must be > 0, got -1.0"),
        ("sampler.step_size=big", "sampler.step_size must be a number, got 'big'"),
        ("sampler.step_size=???", "sampler.step_size is required"),
        ("eval.sampler.step_size=-1.0", "eval.sampler.step_size must be > 0, got -1.0"),
        ("eval.n_samples=1", "eval.n_samples must be >= 10, got 1"),
        ("energy.width=${no.such}", "energy.width=${no.such}: Interpolation key 'no.such' not found"),
        ("energy._target_=os.system", "energy._target_=os.system: must name a class, not a builtin_function_or_method"),
        ("energy._target_=nowhere.Energy", "energy._target_=nowhere.Energy: there is no module nowhere"),
        (
            "energy._target_=ebm_cli.energies.MPL",
            "energy._target_=ebm_cli.energies.MPL: ebm_cli.energies has no MPL; did you mean MLP?",
        ),
        ("checkpoint=nowhere", "checkpoint=nowhere: not a run directory (no config.yaml), so it cannot be "),
        ("--config-dir=nowhere", "Additional config directory '"),
        ("~method", "~method: method cannot be removed; choose another with method=OPTION"),
        (
            "~hydra.callbacks",
            "~hydra.callbacks: hydra.callbacks.validate cannot be overridden (it validates the config)",
        ),
        (
            "hydra.callbacks.validate.verb=runs",
            "hydra.callbacks.validate.verb=runs: hydra.callbacks.validate cannot be ",
        ),
    ],
)
def test_mistake_ends_in_one_line(ebm: Ebm, stand_in: StandIn, tmp_path: Path, word: str, line: str) -> None:
    seen = stand_in("train")
    ran = ebm("train", word)
    assert ran.err.startswith(f"ebm: {line}")
    assert len(ran.err.splitlines()) == 1
    assert (ran.code, ran.out, seen) == (1, "", [])
    assert list(tmp_path.iterdir()) == []


def test_key_behind_a_reference_is_named_by_its_group(ebm: Ebm, stand_in: StandIn) -> None:
    """`method.sampler` is written ${sampler}: the key that is meant is `sampler.step_size`."""
    stand_in("train")
    ran = ebm("train", "method=cd", "method.sampler.step_size=0.1")
    line = "method.sampler.step_size: method.sampler is the group sampler; set sampler.step_size"
    assert (ran.code, ran.err) == (1, f"ebm: {line}\n")


def test_traceback_is_shown_on_request(
    ebm: Ebm, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in("train")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    ran = ebm("train", "stepz=3")
    assert "Traceback" in ran.err
    assert ran.err.splitlines()[-1] == "ebm: stepz: no such key; did you mean steps?"
    assert os.environ["HYDRA_FULL_ERROR"] == "1"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("no"), 1, "ebm: no"),
        (Diverges("step 3: the loss is not finite"), 3, "ebm: step 3: the loss is not finite"),
        (KeyboardInterrupt(), 130, "ebm: interrupted"),
        (ZeroDivisionError("x"), 1, "ebm: ZeroDivisionError: x (test_error_messages.py:"),
        (MemoryError("x"), 1, "ebm: not enough memory: more memory is needed at once; choose a smaller network"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000 bytes."),
            1,
            "ebm: not enough memory: 4 TB is needed at once; choose a smaller network, batch_size or n_chains",
        ),
    ],
)
def test_error_decides_the_exit_code(ebm: Ebm, stand_in: StandIn, error: BaseException, code: int, line: str) -> None:
    stand_in("train", fail_with(error))
    ran = ebm("train")
    assert ran.code == code
    assert ran.err.startswith(line)
    assert len(ran.err.splitlines()) == 1
