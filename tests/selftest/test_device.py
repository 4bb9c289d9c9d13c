"""The checks of the machine: a generator that ignores its seed and a reader of damaged files fail."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.selftest import Harness, examine

QUADRATIC = {"_target_": "ebm_cli.energies.Quadratic"}


def device_outcomes() -> dict[str, str]:
    """The outcomes about this CPU and disk, without any option."""
    harness = Harness(lambda words: OmegaConf.create(), [], 0, [torch.device("cpu")])
    return {f"{row.name}: {row.what}": row.outcome for row in examine(harness, "device")}


def test_device_fails_if_a_seed_does_not_fix_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "FAILED" not in device_outcomes().values()
    right = torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda n, generator, device: right(n, device=device))
    found = device_outcomes()
    assert {what for what, outcome in found.items() if outcome == "FAILED"} == {
        "cpu float32: the same seed twice",
        "cpu float64: the same seed twice",
    }


def test_disk_fails_if_a_damaged_checkpoint_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "read", lambda path: torch.load(path, weights_only=True))
    found = device_outcomes()
    assert found["disk: checkpoint, read back"] == "ok"
    assert found["disk: 8 flipped bits"] == "FAILED"


def test_device_measures_the_options_after_an_unavailable_one(tmp_path: Path) -> None:
    nodes = {"energy": {"a": {"_target_": "ebm_cli.energies.Sum", "checkpoints": "???"}, "b": QUADRATIC}}
    nodes["sampler"] = {"mala": {"_target_": "ebm_cli.samplers.mala.MALA", "step_size": 0.1}}
    for group, options in nodes.items():
        (tmp_path / group).mkdir()
        for name in options:
            (tmp_path / group / f"{name}.yaml").write_text("# An option")

    def compose(words: Sequence[str]) -> DictConfig:
        group, _, name = words[0].partition("=")
        return OmegaConf.create({group: nodes[group][name]})

    harness = Harness(compose, [tmp_path], 0, [torch.device("cpu")])
    rows = [row for row in examine(harness, "device") if row.name == "cpu float32"]
    found = {row.what: row.outcome for row in rows if row.what.startswith(("energy", "sampler"))}
    assert found == {"energy a": "skipped", "energy b": "ok", "sampler mala": "ok"}
