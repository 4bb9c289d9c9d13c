"""Whole training steps on a device without values (`tests/methods/test_meta_device.py`): the host reads nothing."""

from functools import partial

import pytest
import torch

from ebm_cli.runs.assemble import assemble
from ebm_cli.selftest.training import _Rows
from ebm_cli.training import build
from ebm_cli.training.guard import Guard
from ebm_cli.training.trainer import Trainer
from tests.methods.test_meta_device import Strict
from tests.support import METHODS, composed, seeded

META = torch.device("meta")


def trainer_on_meta(method: str, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A trainer whose every tensor is there; its optimizer is sgd, since the fused kernels of Adam are not."""
    cfg = composed(f"method={method}", "log_every=100", "steps=100", "optimizer=sgd")
    parts = assemble(cfg)
    parts.method.prepare(parts.dataset.reference, seeded())
    rows = parts.dataset.batches(16, seeded()).next()
    for part in (parts.energy, parts.method):
        part.to(META)
    trainer = build.make_trainer(cfg, parts)
    trainer.batches = _Rows(rows.to(META))
    trainer._make_guard = partial(Guard, 100, META)
    trainer.guard = trainer._guard_of_phase()
    return trainer


@pytest.mark.parametrize("method", [name for name in METHODS if name != "fce"])
def test_step_reads_nothing_between_logged_steps(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss, gradient, clipping, optimizer, schedule, moving average and guard. fce reads whose turn it is."""
    trainer = trainer_on_meta(method, monkeypatch)
    with Strict():
        for _ in range(3):
            trainer.advance()
    assert trainer.grad_norm.device == META


def test_read_of_the_guard_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a guard on the host reads the loss at every step."""
    trainer = trainer_on_meta("nce", monkeypatch)
    trainer.guard = Guard(100, torch.device("cpu"))
    with Strict(), pytest.raises(RuntimeError, match="cannot be called on meta"):
        trainer.advance()
