"""Stored configs: keys that were added after a run get the values that reproduce what the run did."""

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import ebm_cli
from ebm_cli.runs import added_keys, record, reserve, stored_config
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.added_keys import AddedKey, fill, missing_keys
from ebm_cli.runs.status import read_status
from ebm_cli.runs.stored_config import drop_filled, keep_old_values
from tests.support import FAST, Ebm, at_step, differences, last, no_pictures, trained

OLD = "tests"
CLIP = AddedKey("clip_grad_norm", 0.01, after=OLD)
"""A key whose default is 100; the runs below are stored as if they had been made before there was one."""


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> list[AddedKey]:
    """Keys that count as added; a test appends to them."""
    keys: list[AddedKey] = []
    monkeypatch.setattr(added_keys, "ADDED_KEYS", keys)
    return keys


# --- plain configs ----------------------------------------------------------------------------------------------------


def test_fill_adds_keys_of_the_config_itself(added: list[AddedKey]) -> None:
    added += [AddedKey("steps", 5, OLD), AddedKey("eval.base", "method", OLD), AddedKey("seed", 1, OLD)]
    config = {"seed": 0, "eval": {"init": "noise"}}
    assert fill(config) == {"seed": 0, "eval": {"init": "noise", "base": "method"}, "steps": 5}
    assert config == {"seed": 0, "eval": {"init": "noise"}}


def test_fill_adds_parameters_of_a_class_wherever_it_is(added: list[AddedKey]) -> None:
    added.append(AddedKey("clamp", None, OLD, target="a.B"))
    node, other = {"_target_": "a.B"}, {"_target_": "a.C"}
    config = {"sampler": node, "method": {"_target_": "a.M", "sampler": node, "list": [other, node]}, "other": other}
    paths = [("sampler", "clamp"), ("method", "sampler", "clamp"), ("method", "list", 1, "clamp")]
    assert list(missing_keys(config)) == paths
    filled = fill(config)
    assert filled["method"]["list"] == [other, {"_target_": "a.B", "clamp": None}]
    assert missing_keys(filled) == {}


def test_fill_leaves_a_config_without_the_place_of_a_key(added: list[AddedKey]) -> None:
    added += [AddedKey("eval.base", "method", OLD), AddedKey("clamp", None, OLD, target="a.B")]
    for config in ({}, {"eval": 3}, {"eval": [1]}, {"sampler": {"_target_": ["a.B"]}}):
        assert fill(config) == config


def test_filled_values_are_copies(added: list[AddedKey]) -> None:
    added.append(AddedKey("list", [1], OLD))
    fill({})["list"].append(2)
    assert fill({}) == {"list": [1]}


def test_composed_config_keeps_old_values_unless_typed(added: list[AddedKey], tmp_path: Path) -> None:
    added += [AddedKey("a", 1, OLD), AddedKey("k", 2, OLD, target="x.Y")]
    (tmp_path / "config.yaml").write_text("s: {_target_: x.Y}\nm: {s: {_target_: x.Y}}\n")
    text = "{a: 7, s: {_target_: x.Y, k: 8}, m: {s: '${s}'}}"
    cfg = keep_old_values(OmegaConf.create(text), tmp_path, ["s=y", "method.a=3"])
    assert OmegaConf.to_container(cfg) == {"a": 1, "s": {"_target_": "x.Y", "k": 2}, "m": {"s": "${s}"}}
    cfg = keep_old_values(OmegaConf.create(text), tmp_path, ["+a=7", "s.k=8"])
    assert (cfg.a, cfg.s.k) == (7, 8)
    cfg = keep_old_values(OmegaConf.create(text), tmp_path / "new", [])
    assert (cfg.a, cfg.s.k) == (7, 8)


def test_filled_keys_are_not_stored(added: list[AddedKey], tmp_path: Path) -> None:
    added += [AddedKey("a", 1, OLD), AddedKey("b", 2, OLD), AddedKey("c", 3, OLD)]
    (tmp_path / "config.yaml").write_text("b: 2\n")
    assert drop_filled({"a": 1, "b": 2, "c": 4}, tmp_path) == {"b": 2, "c": 4}
    (tmp_path / "config.yaml").write_text("{")
    assert drop_filled({}, tmp_path) == {}


# --- a run from before the key ----------------------------------------------------------------------------------------

WORDS = [*FAST, "method=ssm", "optimizer.lr=0.1", "steps=6"]


def make_old(run: Path) -> None:
    """Store a run as a version without `clip_grad_norm` would have stored it."""
    config = OmegaConf.load(run / "config.yaml")
    del config["clip_grad_norm"]
    (run / "config.yaml").write_text(OmegaConf.to_yaml(config))
    plain: Any = OmegaConf.to_container(config)
    for file in (run / "checkpoints").glob("*.pt"):
        checkpoints.save(file, checkpoints.read(file) | {"config": plain})
    status = json.loads((run / "status.json").read_text())
    status["config_hash"] = reserve.config_hash(OmegaConf.create(plain))
    (run / "status.json").write_text(json.dumps(status))


@pytest.fixture
def old(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that failed after its checkpoint of step 2; `whole` is the same run without a failure."""
    no_pictures(monkeypatch)
    assert ebm("train", *WORDS, "clip_grad_norm=0.01", "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        at_step(patched, 4, lambda: 1 / 0)
        assert ebm("train", *WORDS, "clip_grad_norm=0.01", "checkpoint_every=2", "hydra.run.dir=old").code == 1
    make_old(tmp_path / "old")
    return tmp_path / "old"


def fail_at(ebm: Ebm, monkeypatch: pytest.MonkeyPatch, step: int, *words: str) -> None:
    with monkeypatch.context() as patched:
        at_step(patched, step, lambda: 1 / 0)
        assert ebm("train", *words).code == 1


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([*WORDS, "checkpoint_every=2", "hydra.run.dir=old"], marks=pytest.mark.slow),
        ["checkpoint=old"],
    ],
)
def test_run_from_before_a_key_is_resumed_with_its_value(
    ebm: Ebm, old: Path, added: list[AddedKey], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Also once more after a second failure: what was filled in is not stored."""
    added.append(CLIP)
    fail_at(ebm, monkeypatch, 5, *words)
    assert last(old)["step"] == 4
    assert "clip_grad_norm" not in OmegaConf.load(old / "config.yaml")
    ran = ebm("train", *words)
    assert (ran.code, ran.err) == (0, "")
    assert differences(trained(old), trained(old.parent / "whole")) == []
    assert "clip_grad_norm" not in OmegaConf.load(old / "config.yaml")
    assert last(old)["config"]["clip_grad_norm"] == 0.01
    assert "finished at step 6, nothing to do. " in ebm("train", *WORDS, "checkpoint_every=2", "hydra.run.dir=old").err


def test_old_run_without_the_value_is_another_run(ebm: Ebm, old: Path) -> None:
    """The control: nothing says what the run did."""
    ran = ebm("train", *WORDS, "checkpoint_every=2", "hydra.run.dir=old")
    assert (ran.code, "holds a run of another config" in ran.err) == (1, True)


@pytest.mark.parametrize(("typed", "code"), [("0.01", 0), ("0.02", 1), ("100.0", 1)])
def test_typed_value_of_an_added_key_counts(ebm: Ebm, old: Path, added: list[AddedKey], typed: str, code: int) -> None:
    added.append(CLIP)
    ran = ebm("train", *WORDS, "checkpoint_every=2", f"clip_grad_norm={typed}", "hydra.run.dir=old")
    assert (ran.code, "holds a run of another config" in ran.err) == (code, code == 1)


@pytest.mark.slow
def test_old_job_of_a_sweep_is_resumed(
    ebm: Ebm, tmp_path: Path, added: list[AddedKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_pictures(monkeypatch)
    words = [*WORDS, "seed=1,2", "hydra.sweep.dir=sweep", "-m"]
    fail_at(ebm, monkeypatch, 4, *words, "clip_grad_norm=0.01", "checkpoint_every=2")
    for job in "01":
        make_old(tmp_path / "sweep" / job)
    assert "another config" in ebm("train", *words, "checkpoint_every=2").err
    added.append(CLIP)
    ran = ebm("train", *words, "checkpoint_every=2")
    assert (ran.code, ran.err) == (0, "")
    statuses = [read_status(tmp_path / "sweep" / job) or {} for job in "01"]
    assert [status["state"] for status in statuses] == ["finished", "finished"]


def test_old_run_is_read_with_the_value(old: Path, added: list[AddedKey]) -> None:
    added.append(CLIP)
    assert record.read(old).get("clip_grad_norm") == 0.01
    assert ebm_cli.load(old).config.clip_grad_norm == 0.01
    found = stored_config.stored_config(old)
    assert found is not None
    assert found.clip_grad_norm == 0.01
