"""Work of a training run beside its steps: once a logging interval, and nothing in between."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from ebm_cli.methods import LossOutput
from ebm_cli.reporting.jsonl import JsonLines
from ebm_cli.reporting.progress import Progress
from ebm_cli.reporting.tensorboard import TensorBoard
from ebm_cli.training.trainer import Trainer
from tests.support import FAST, Ebm, no_pictures


def test_step_reads_no_key_of_the_config(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a key costs 0.01 ms, and a small step takes 0.5 ms: between two logged steps none is read."""
    no_pictures(monkeypatch)
    reads: list[str] = []
    seen: list[int] = []
    read, advance = DictConfig.__getattr__, Trainer.advance

    def counted_read(self: DictConfig, key: str) -> Any:
        reads.append(key)
        return read(self, key)

    def counted_step(self: Trainer) -> LossOutput:
        seen.append(len(reads))
        return advance(self)

    monkeypatch.setattr(DictConfig, "__getattr__", counted_read)
    monkeypatch.setattr(Trainer, "advance", counted_step)
    assert ebm("train", *FAST, "steps=12", "log_every=4", "checkpoint_every=null", "eval_every=null").code == 0
    new = [after - before for before, after in pairwise(seen)]
    assert len(new) == 11
    assert not any(count for step, count in enumerate(new, start=1) if step % 4)
    assert reads


def test_interval_writes_one_line_and_updates_once(ebm: Ebm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line, one update of the bar, one call with every number for TensorBoard; nothing between intervals."""
    no_pictures(monkeypatch)
    calls: Counter[tuple[str, int]] = Counter()

    def count(owner: type, name: str, step_at: int) -> None:
        call = getattr(owner, name)

        def counted(self: Any, *given: Any) -> Any:
            calls[owner.__name__, given[step_at]] += 1
            return call(self, *given)

        monkeypatch.setattr(owner, name, counted)

    count(JsonLines, "write", 0)
    count(TensorBoard, "scalars", 1)
    count(Progress, "update", 0)
    words = ("steps=11", "log_every=5", "eval_every=null", "checkpoint_every=3")
    assert ebm("train", *FAST, *words, "hydra.run.dir=run").code == 0
    assert {key: calls.pop((key, 11)) for key in ("JsonLines", "TensorBoard")} == {"JsonLines": 2, "TensorBoard": 2}
    assert calls == {(name, step): 1 for name in ("JsonLines", "TensorBoard", "Progress") for step in (5, 10)} | {
        ("Progress", 11): 1
    }
    lines = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines == [5, 10, 11]
