"""The session: its size, its log and its checkpoints."""

import ast
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.reporting.jsonl import read
from ebm_cli.training.session import LoopKeys
from tests.support import FAST, REPO, Ebm, at_step, composed, last, no_pictures, state_of

MAX_ATTRIBUTES = 10
"""Attributes of a session; more would mean that it does more than to loop."""


def attributes(function: ast.FunctionDef) -> set[str]:
    """Names that a method assigns to attributes of `self`, also in tuples, loops and `with` blocks."""
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def classes(package: str) -> list[ast.ClassDef]:
    trees = [ast.parse(path.read_text()) for path in sorted((REPO / "ebm_cli" / package).glob("*.py"))]
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("cls", [*classes("training"), *classes("runs")], ids=lambda cls: cls.name)
def test_every_attribute_is_born_in_init(cls: ast.ClassDef) -> None:
    """Or is a field of a dataclass."""
    methods = [node for node in cls.body if isinstance(node, ast.FunctionDef)]
    fields = {n.target.id for n in cls.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    born = fields.union(*(attributes(method) for method in methods if method.name == "__init__"))
    assert set().union(*map(attributes, methods)) <= born


def test_session_has_few_attributes() -> None:
    [session] = [cls for cls in classes("training") if cls.name == "Session"]
    [init] = [node for node in session.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    assert 0 < len(attributes(init)) <= MAX_ATTRIBUTES


def test_keys_of_the_loop_are_read_from_the_config() -> None:
    keys = LoopKeys.of(composed("steps=7", "log_every=2", "eval_every=null", "patience=null", "seed=5"))
    assert (keys.steps, keys.log_every, keys.eval_every, keys.patience, keys.seed) == (7, 2, None, None, 5)


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


def test_run_logs_evaluates_and_saves_at_its_intervals(ebm: Ebm, tmp_path: Path) -> None:
    words = [*FAST, "steps=9", "log_every=4", "eval_every=3", "checkpoint_every=4", "keep=9", "hydra.run.dir=run"]
    assert ebm("train", *words).code == 0
    rows: list[dict[str, Any]] = read(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows if "train/loss" in row] == [4, 8, 9]
    assert [row["step"] for row in rows if "val/fisher" in row] == [3, 6, 9]
    numbered = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("step-*.pt"))
    assert numbered == [f"step-0000000{step}.pt" for step in (4, 8, 9)]


def test_time_limit_counts_training_of_this_process(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cost/seconds` and the checkpoint count all processes."""
    import time

    words = [*FAST, "steps=6", "hydra.run.dir=run"]
    with monkeypatch.context() as patched:
        at_step(patched, 3, lambda: time.sleep(0.6))
        assert ebm("train", *words, "max_seconds=0.5").code == 0
    assert state_of(tmp_path / "run") == ("finished", 3, 6)
    assert ebm("train", "checkpoint=run", "max_seconds=0.5").code == 0
    assert state_of(tmp_path / "run") == ("finished", 6, 6)
    assert last(tmp_path / "run")["seconds"] > 0.6
