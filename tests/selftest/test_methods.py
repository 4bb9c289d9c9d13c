"""The checks of the methods: a loss that is not finite or moves no weight fails."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from ebm_cli.energies import Energy
from ebm_cli.methods import LossOutput, Method
from ebm_cli.selftest import Harness, examine
from tests.support import composed, outcomes


class Broken(Method):
    """A loss times a factor: infinite, or zero so that no weight takes part in it."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def loss(self, energy: Energy, x: Tensor, rng: torch.Generator) -> LossOutput:
        return LossOutput(self.factor * energy(x).mean(), {})


@pytest.mark.parametrize(
    ("factor", "row"),
    [(1.0, "3 steps on cpu"), (math.inf, "3 steps on cpu"), (0.0, "ValueError: no weight changed in 3 steps on cpu")],
)
def test_method_fails_if_it_does_not_train(tmp_path: Path, factor: float, row: str) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("# Broken")

    def compose(words: Sequence[str]) -> DictConfig:
        cfg = composed("dataset=gaussian", *words[1:])
        cfg.method = {"_target_": f"{Broken.__module__}.Broken", "factor": factor}
        return cfg

    found = outcomes(examine(Harness(compose, [tmp_path], 0, [torch.device("cpu")]), "methods"))
    assert found == {"known value": "skipped", row: "ok" if factor == 1 else "FAILED"}
