"""The monitored result: computed on validation rows, and never on the rows that evaluate the run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from ebm_cli.commands.train import require_monitored
from ebm_cli.datasets import Dataset, Table
from ebm_cli.datasets.finite import Finite
from ebm_cli.densities import Density, Gaussian
from ebm_cli.energies import Energy
from ebm_cli.errors import UserError
from ebm_cli.evaluation.expectation import DataDistribution
from ebm_cli.evaluation.monitored import monitored_value
from ebm_cli.runs.assemble import assemble, protocol_of
from ebm_cli.runs.instantiate import Parts
from ebm_cli.training.build import make_trainer
from ebm_cli.training.monitor import Monitor
from tests.evaluation.toys import Bent, FunctionEnergy
from tests.support import TINY, Ebm, composed, differences, last, no_pictures

SOON = ["noise.family=gaussian", "noise.marginals=none"]
TILTED = [*SOON, "energy.reference=gaussian", "energy.marginals=none"]
"""Noise, and noise and reference, that are fitted soonest."""
IRIS = ["dataset=iris", *TILTED]

WINE = [
    *TINY,
    *SOON,
    "dataset=wine",
    "energy=mlp",
    "metrics=[score]",
    "energy.width=32",
    "optimizer.lr=0.02",
    "schedule=constant",
]
WINE += ["ema=0.5", "log_every=10", "eval_every=10", "checkpoint_every=25"]


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["dataset=moons"], "eval/kl"),
        (["dataset=gaussian", "dataset.density.dim=3", "metrics=[density]"], "val/kl"),
        (["dataset=gaussian", "dataset.density.dim=3", "metrics=[score]"], "val/fisher"),
        pytest.param(["dataset=iris", "energy=mlp"], "val/objective", marks=pytest.mark.slow),
        pytest.param(["dataset=wine", "energy=mlp", "method=cd"], "val/nll", marks=pytest.mark.slow),
        pytest.param(["dataset=iris"], "val/nll", marks=pytest.mark.slow),
        ([*IRIS, "monitor=eval/nll"], "val/nll"),
        ([*IRIS, "monitor=val/nll"], "val/nll"),
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


def test_uncertain_log_z_chooses_no_weights() -> None:
    """Weights whose log Z came out low by chance are not chosen for it; a result without log Z has no such error."""
    parts = assemble(composed(*IRIS))
    protocol = protocol_of(composed(*IRIS), 0, 16, None)
    monitor = Monitor(parts, protocol, "eval/nll")
    assert monitor.value({"val/nll": 5.0, "val/log_z_se": 0.01}) == 5.0
    assert monitor.value({"val/nll": 3.9, "val/log_z_se": 2.4}) is None
    assert Monitor(parts, protocol, "eval/fisher").value({"val/fisher": 1.0, "val/log_z_se": 2.4}) == 1.0
    # Without a reference every log Z is as uncertain, and one of them has to be chosen.
    plain = assemble(composed(*SOON, "dataset=wine", "energy=mlp", "method=cd"))
    assert Monitor(plain, protocol, "eval/nll").value({"val/nll": 3.9, "val/log_z_se": 2.4}) == 3.9


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


# --- an energy with a reference ---------------------------------------------------------------------------------------


def bent(energy_of: Callable[[Density], Energy], *words: str) -> tuple[Monitor, Parts]:
    """The monitor of an energy that bends the Gaussian fitted to wine, and its parts."""
    cfg = composed("dataset=wine", *TILTED, *words)
    parts = assemble(cfg)
    parts = replace(parts, energy=energy_of(Gaussian(parts.dataset.reference)))
    return Monitor(parts, protocol_of(cfg, 0, 16, None), "auto"), parts


def mean_nll(density: Density, dataset: Dataset) -> float:
    """Mean over the validation rows, in data units."""
    rows = dataset.standardised_rows("validation", 10_000)
    return float(dataset.standardizer.log_det) - float(density.log_prob(rows).double().mean())


@pytest.mark.parametrize("method", ["nce", "cd", "sm", "ssm"])
def test_every_method_is_chosen_by_the_likelihood(method: str) -> None:
    monitor, parts = bent(Bent, f"method={method}")
    assert monitor.key == "val/nll"
    assert monitor.compares_start
    # The reference itself: every weight is 1, and log Z has no error.
    found = monitor.evaluate()
    assert parts.energy.reference is not None
    assert found["val/nll"] == pytest.approx(mean_nll(parts.energy.reference, parts.dataset), abs=1e-4)


def test_likelihood_of_another_density_than_the_reference() -> None:
    narrow: list[Gaussian] = []

    def energy(wide: Density) -> Energy:
        narrow.append(Gaussian(assemble(composed("dataset=wine", *TILTED)).dataset.reference, widen=0.9))
        return Bent(wide, lambda x: 2.0 + wide.log_prob(x) - narrow[0].log_prob(x))

    monitor, parts = bent(energy)
    found = monitor.evaluate()
    assert abs(found["val/nll"] - mean_nll(narrow[0], parts.dataset)) < 4 * found["val/log_z_se"] < 0.1
    assert monitor.evaluate() == found


def test_an_energy_far_from_its_reference_is_annealed() -> None:
    monitor, _ = bent(lambda q: Bent(q, lambda x: 20 * x.square().sum(1)))
    assert "importance" not in str(monitor._sampled().results.values["eval/log_z_method"])
    near, _ = bent(Bent)
    assert near._sampled().results.values["eval/log_z_method"] == "importance"


def test_an_energy_without_a_reference_has_no_start_to_compare() -> None:
    monitor, _ = bent(lambda q: FunctionEnergy(q.shape[0]))
    assert (monitor.key, monitor.compares_start) == ("val/objective", False)


@pytest.mark.slow
def test_early_weights_of_a_reference_are_evaluated_too(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_pictures(monkeypatch)
    steps = {}
    for energy in ("tilted", "mlp"):
        words = [*TINY, "dataset=iris", f"energy={energy}", "metrics=[density]", "steps=90", "eval_every=40"]
        assert ebm("train", *words, "method=nce", f"hydra.run.dir={energy}").code == 0
        history = [json.loads(line) for line in (tmp_path / energy / "metrics.jsonl").read_text().splitlines()]
        steps[energy] = sorted({row["step"] for row in history if any(key.startswith("val/") for key in row)})
    assert steps["tilted"][:6] == [0, 5, 10, 20, 40, 80]
    assert steps["mlp"][:2] == [40, 80]


@pytest.mark.slow
def test_training_that_only_harms_ends_at_the_reference(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """best.pt is the model before the first step."""
    no_pictures(monkeypatch)
    words = [*WINE, "metrics=[density]", "energy=tilted", "optimizer.lr=2", "steps=60", "patience=2"]
    assert ebm("train", *words, "hydra.run.dir=a").code == 0
    history = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    values = {row["step"]: row["val/nll"] for row in history if "val/nll" in row}
    assert min(values, key=lambda step: values[step]) == 0
    assert history[-1]["step"] >= 20
    assert last(tmp_path / "a", "best.pt")["step"] == 0
    results = json.loads((tmp_path / "a" / "results.json").read_text())
    assert results["val/nll"] == values[0]


def test_a_result_that_does_not_exist_is_not_monitored() -> None:
    """A run that resumes keeps what it has, and metrics of one's own have any results."""
    keys: dict[str, Any] = {"monitor": "val/mine", "checkpoint": None, "metrics": ["density"]}
    with pytest.raises(UserError, match="no such result"):
        require_monitored(OmegaConf.create(keys))
    for change in (
        {"monitor": "auto"},
        {"monitor": "val/kl"},
        {"checkpoint": "run"},
        {"metrics": ["density", {"_target_": "mine.Metric"}]},
    ):
        require_monitored(OmegaConf.create(keys | change))
