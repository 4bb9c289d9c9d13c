"""`precision=` rounds the products of training steps, and of nothing else."""

from typing import Any

import pytest
import torch

from ebm_cli.evaluation import suite
from ebm_cli.methods import NCE
from ebm_cli.training.monitor import Monitor
from tests.support import FAST, Ebm, no_pictures


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_products_are_rounded_in_training_steps_only(precision: str, ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations during training and at its end use full precision."""
    no_pictures(monkeypatch)
    seen: dict[str, set[str]] = {"loss": set(), "monitor": set(), "end": set()}

    def record(owner: Any, name: str, key: str) -> None:
        function = getattr(owner, name)

        def recorded(*args: Any, **named: Any) -> Any:
            seen[key].add(torch.get_float32_matmul_precision())
            return function(*args, **named)

        monkeypatch.setattr(owner, name, recorded)

    record(NCE, "loss", "loss")
    record(Monitor, "evaluate", "monitor")
    record(suite, "evaluate", "end")
    words = [*FAST, "steps=4", "eval_every=2", f"precision={precision}"]
    assert ebm("train", *words, "hydra.run.dir=run").code == 0
    assert seen == {"loss": {precision}, "monitor": {"highest"}, "end": {"highest"}}
