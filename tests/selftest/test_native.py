"""The check of native code: a wrong gradient or a wrong step fails, and without a compiler it is skipped."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from ebm_cli.acceleration import native_calls, native_network
from ebm_cli.acceleration.native_calls import Step
from ebm_cli.samplers import Kernel
from ebm_cli.selftest import Harness, measure_check
from ebm_cli.selftest import native as native_part

MADE = {
    "hmc": {"_target_": "ebm_cli.samplers.hmc.HMC", "step_size": 0.3},
    "mala": {"_target_": "ebm_cli.samplers.mala.MALA", "step_size": 0.3},
    "walk": {"_target_": "ebm_cli.samplers.metropolis.Metropolis", "step_size": 0.3},
}
OF_A_STEP = "energy and gradient of a training step"
FACTS = ("energy and gradient", OF_A_STEP, "sampler hmc", "sampler mala")


@pytest.fixture
def outcomes(tmp_path: Path) -> Callable[[], dict[str, str]]:
    (tmp_path / "sampler").mkdir()
    for name in MADE:
        (tmp_path / "sampler" / f"{name}.yaml").write_text("# An option")

    def compose(words: Sequence[str]) -> DictConfig:
        return OmegaConf.create({"sampler": MADE[words[0].partition("=")[2]]})

    def measured() -> dict[str, str]:
        (check,) = native_part.native_checks(Harness(compose, [tmp_path], 0, [torch.device("cpu")]))
        return {row.what: row.outcome for row in measure_check(check)}

    return measured


needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")


@needs_compiler
def test_native_chains_pass_and_others_are_left_out(outcomes: Callable[[], dict[str, str]]) -> None:
    assert outcomes() == dict.fromkeys(FACTS, "ok")


@needs_compiler
def test_native_chains_at_another_temperature_fail(
    outcomes: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Step.of

    def hotter(kernel: Kernel) -> Step:
        step = right(kernel)
        step.temperature *= 1.2
        return step

    monkeypatch.setattr(native_calls.Step, "of", hotter)
    assert outcomes() == {name: "FAILED" if name.startswith("sampler") else "ok" for name in FACTS}


@needs_compiler
def test_native_gradient_of_another_activation_fails(
    outcomes: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(native_network.ACTIVATIONS, torch.nn.SiLU, native_network.ACTIVATIONS[torch.nn.GELU])
    found = outcomes()
    assert [found["energy and gradient"], found[OF_A_STEP]] == ["FAILED", "FAILED"]


def test_native_chains_without_a_compiler_are_skipped(
    outcomes: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def attach(*args: Any, **keys: Any) -> str:
        return "native code is not available"

    monkeypatch.setattr(native_part, "attach_native_code", attach)
    assert outcomes() == {"": "skipped"}
