"""Determinism: the same command gives the same bits on the same machine."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from ebm_cli.runs.assemble import assemble
from ebm_cli.system.device import set_deterministic
from ebm_cli.training.build import make_trainer
from tests.support import CHEAP, FAST, METHODS, Ebm, composed, differences, no_pictures, trained


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    no_pictures(monkeypatch)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    torch.use_deterministic_algorithms(False)


def after_steps(*words: str) -> dict[str, Any]:
    """State of a trainer after five steps."""
    cfg = composed(*words, "steps=5", "optimizer.lr=0.05")
    set_deterministic(cfg.deterministic)
    parts = assemble(cfg)
    trainer = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, trainer.rng)
    for _ in range(5):
        trainer.advance()
        assert trainer.guard.read() is None
    return trainer.state_dict()


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_gives_the_same_bits(method: str) -> None:
    """Whatever the state of the global generators, which nothing draws from; another seed gives other bits."""
    words = [f"method={method}", "dataset=gaussian"]
    torch.manual_seed(1)
    first = after_steps(*words)
    torch.manual_seed(2)
    assert differences(first, after_steps(*words)) == []
    assert differences(first["energy"], after_steps(*words, "seed=1")["energy"])


@pytest.mark.parametrize("method", METHODS)
def test_methods_use_deterministic_operations_only(method: str) -> None:
    """No step uses an operation that PyTorch lists as non-deterministic there."""
    words = [f"method={method}", "dataset=gaussian", "deterministic=true"]
    assert differences(after_steps(*words), after_steps(*words)) == []
    assert torch.are_deterministic_algorithms_enabled()


def test_nondeterministic_operation_is_refused() -> None:
    """The control: one of PyTorch's own examples."""
    set_deterministic(True)
    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))
    set_deterministic(False)
    torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))


def test_cublas_workspace_is_set_unless_the_user_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    set_deterministic(False)
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    set_deterministic(True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    set_deterministic(True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def results_of(run: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((run / "results.json").read_text())
    return {key: value for key, value in results.items() if key.startswith(("eval/", "val/"))}


def assert_same_twice(ebm: Ebm, folder: Path, *words: str) -> None:
    for name in ("first", "second"):
        assert ebm("train", *words, f"hydra.run.dir={name}").code == 0
    first, second = folder / "first", folder / "second"
    assert differences(trained(first), trained(second)) == []
    assert results_of(first) == results_of(second) != {}


def test_command_gives_the_same_weights_and_results(ebm: Ebm, tmp_path: Path) -> None:
    assert_same_twice(ebm, tmp_path, *FAST, "method=pcd", "method.k=2", "method.buffer_size=64", "steps=4")


@pytest.mark.slow
@pytest.mark.parametrize("deterministic", ["true", "false"])
@pytest.mark.parametrize("method", METHODS)
def test_command_is_deterministic_for_every_method(ebm: Ebm, tmp_path: Path, method: str, deterministic: str) -> None:
    """With every metric of the evaluation."""
    cfg = composed(f"method={method}")
    cheap = [f"{key}={value}" for key, value in CHEAP.items() if OmegaConf.select(cfg, key) is not None]
    words = [word for word in FAST if not word.startswith("metrics")] + ["dataset.density.dim=2"]
    assert_same_twice(ebm, tmp_path, *words, f"method={method}", *cheap, "steps=6", f"deterministic={deterministic}")
