"""The checkpoints of a run: which are kept, what is restored, and what is never written."""

import math
from pathlib import Path

import pytest
import torch

from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.stored_config import stored_form
from ebm_cli.training.build import make_trainer
from ebm_cli.training.checkpointer import Checkpointer
from ebm_cli.training.guard import Diverged
from ebm_cli.training.history import History, Rollbacks
from ebm_cli.training.trainer import Trainer
from tests.support import composed, differences, last


def make(run: Path, *words: str, monitored: str = "eval/kl") -> tuple[Checkpointer, Trainer, History]:
    """A checkpointer of a new trainer, whose run keeps two numbered checkpoints."""
    cfg = composed("method=sm", "dataset=gaussian", "dataset.density.dim=3", *words)
    parts = assemble(cfg)
    trainer, history = make_trainer(cfg, parts), History(monitored, Rollbacks())
    return Checkpointer(run, stored_form(cfg), trainer, history, parts.dataset, keep=2), trainer, history


def names(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").iterdir()}


def test_save_keeps_the_newest_and_names_the_last(tmp_path: Path) -> None:
    checkpointer, trainer, _ = make(tmp_path)
    for _ in range(3):
        trainer.advance()
        checkpointer.save()
    assert names(tmp_path) == {"step-00000002.pt", "step-00000003.pt", "last.pt"}
    assert last(tmp_path)["step"] == checkpointer.load_last()["step"] == 3
    checkpointer.use_last_as_best()
    assert differences(last(tmp_path, "best.pt"), last(tmp_path)) == []


def test_restore_gives_trainer_and_history_of_the_checkpoint(tmp_path: Path) -> None:
    checkpointer, trainer, history = make(tmp_path)
    trainer.advance()
    history.clock.before = 100.0
    history.stopping.update(1, 2.0)
    checkpointer.save_if_best(2.0)
    trainer.advance()
    history.stopping.update(2, 3.0)
    checkpointer.save()
    resumed, other, past = make(tmp_path)
    resumed.restore(checkpointer.load_last())
    assert differences(other.state_dict(), trainer.state_dict()) == []
    assert (past.best, past.stopping) == (2.0, history.stopping)
    assert past.clock.before > 100
    assert resumed.load_best_weights() == 1
    assert differences(other.energy.state_dict(), trainer.energy.state_dict())


def test_best_is_replaced_by_a_lower_value_only(tmp_path: Path) -> None:
    checkpointer, trainer, history = make(tmp_path)
    for value, step in ((None, None), (3.0, 2), (3.0, 2), (4.0, 2), (None, 2), (-1.0, 6)):
        trainer.advance()
        checkpointer.save_if_best(value)
        best = tmp_path / "checkpoints" / "best.pt"
        assert (last(tmp_path, "best.pt")["step"] if best.exists() else None) == step
    assert history.best == last(tmp_path, "best.pt")["best"] == -1.0


def test_values_of_another_result_are_not_restored(tmp_path: Path) -> None:
    checkpointer, trainer, history = make(tmp_path)
    trainer.advance()
    history.stopping.update(1, 2.0)
    checkpointer.save_if_best(2.0)
    checkpointer.save()
    resumed, _, past = make(tmp_path, monitored="eval/nll")
    resumed.restore(checkpointer.load_last())
    assert (past.best, past.stopping.best) == (math.inf, math.inf)


@pytest.mark.parametrize("guard", ["stop", "rollback", "ignore"])
def test_non_finite_state_is_written_only_if_ignored(tmp_path: Path, guard: str) -> None:
    checkpointer, trainer, _ = make(tmp_path, f"guard={guard}")
    with torch.no_grad():
        next(trainer.energy.parameters()).fill_(math.nan)
    if guard == "ignore":
        checkpointer.save()
        return
    with pytest.raises(Diverged, match=r"diverged at step 0: energy\..* is not finite"):
        checkpointer.save()
    assert not (tmp_path / "checkpoints").exists()
