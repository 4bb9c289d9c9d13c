"""The monitored result: computed on validation rows, and never on the rows that evaluate the run."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ebm_cli.datasets import Table
from ebm_cli.datasets.finite import Finite
from ebm_cli.evaluation.expectation import DataDistribution
from ebm_cli.runs.assemble import assemble, protocol_of
from ebm_cli.training.build import make_trainer
from ebm_cli.training.monitor import Monitor, monitored_value
from tests.support import TINY, Ebm, composed, differences, last, no_pictures

WINE = [*TINY, "dataset=wine", "metrics=[score]", "energy.width=32", "optimizer.lr=0.02", "schedule=constant"]
WINE += ["ema=0.5", "log_every=10", "eval_every=10", "checkpoint_every=25"]


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["dataset=moons"], "eval/kl"),
        (["dataset=gaussian", "dataset.density.dim=3", "metrics=[density]"], "val/kl"),
        (["dataset=gaussian", "dataset.density.dim=3", "metrics=[score]"], "val/fisher"),
        (["dataset=wine"], "val/objective"),
        (["dataset=wine", "method=cd"], "val/nll"),
        (["dataset=wine", "monitor=eval/nll"], "val/nll"),
        (["dataset=wine", "monitor=val/nll"], "val/nll"),
        (["dataset=moons", "monitor=eval/nll"], "eval/nll"),
    ],
)
def test_monitored_result_depends_on_data_and_method(words: list[str], key: str) -> None:
    """Its value can be computed, and it has the name of a final result only if no rows enter it."""
    cfg = composed(*words)
    monitor = Monitor(assemble(cfg), protocol_of(cfg, 0, 16, None), cfg.monitor)
    assert monitor.key == key
    assert monitor.uses_validation_rows == key.startswith("val/")
    found = monitor.evaluate()
    assert {name.partition("/")[0] for name in found} == {key.partition("/")[0]}
    value = monitor.value(found)
    assert value is not None
    assert value == found[key]


def test_evaluation_changes_no_state() -> None:
    """Not even a spectral norm, whose iterations belong to training."""
    cfg = composed("dataset=digits", "energy=conv", "energy.width=4", "energy.spectral_norm=true", "method=nce")
    parts = assemble(cfg)
    trainer, monitor = make_trainer(cfg, parts), Monitor(parts, protocol_of(cfg, 0, 16, None), "auto")
    before = {name: value.clone() for name, value in parts.energy.state_dict().items()}
    rng_state = trainer.rng.get_state()
    assert monitor.evaluate() == monitor.evaluate()
    assert parts.energy.training
    assert differences(before, parts.energy.state_dict()) == []
    assert torch.equal(rng_state, trainer.rng.get_state())
    # The control: in training mode a call of the energy changes it.
    parts.energy(parts.dataset.reference[:4])
    assert differences(before, parts.energy.state_dict())


def test_validation_and_test_rows_are_disjoint() -> None:
    data = Table("wine")
    validation, test = DataDistribution(data, part="validation").rows, DataDistribution(data).rows
    assert (len(validation), len(test)) == (18, 36)
    assert torch.cdist(validation, test).min() > 0
    assert torch.allclose(validation, data.standardizer(data.validation(100)).double(), atol=1e-5)


def test_monitored_value_of_a_finished_run() -> None:
    results: dict[str, Any] = {"eval/nll": 2.0, "eval/mmd": 0.1, "val/objective": 0.5, "eval/log_z_method": "ais"}
    assert monitored_value("auto", results) == 0.5
    assert monitored_value("eval/nll", results) == 2.0
    assert monitored_value("eval/mmd", results) == 0.1
    assert monitored_value("eval/nll", results | {"val/nll": 3.0}) == 3.0
    assert monitored_value("auto", {"eval/fisher": 1.0, "eval/nll": 2.0}) == 2.0
    assert monitored_value("eval/log_z_method", results) is None


def test_test_rows_do_not_choose_the_best(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other test rows give other results and the same best.pt."""
    no_pictures(monkeypatch)
    words = [*WINE, "steps=60"]
    assert ebm("train", *words, "hydra.run.dir=a").code == 0

    held_out = Finite.held_out

    def others(self: Finite, n: int) -> torch.Tensor:
        return 3 * held_out(self, n)

    with monkeypatch.context() as patched:
        patched.setattr(Finite, "held_out", others)
        assert ebm("train", *words, "hydra.run.dir=b").code == 0
    a, b = (last(tmp_path / name, "best.pt") for name in "ab")
    assert (a["step"], a["best"]) == (b["step"], b["best"])
    assert differences(a["energy"], b["energy"]) == []
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in "ab"]
    assert results[0]["val/objective"] == results[1]["val/objective"]
    assert results[0]["eval/ksd"] != results[1]["eval/ksd"]
    # The control: other validation rows choose another one.
    with monkeypatch.context() as patched:
        patched.setattr(Finite, "validation", others)
        assert ebm("train", *words, "hydra.run.dir=c").code == 0
    assert last(tmp_path / "c", "best.pt")["best"] != a["best"]
