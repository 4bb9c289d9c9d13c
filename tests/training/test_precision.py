"""`precision=` rounds the products of training steps, and of nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ebm_cli
from ebm_cli.evaluation import divergences, suite
from ebm_cli.methods import NCE
from ebm_cli.runs.assemble import assemble
from ebm_cli.samplers.mala import MALA
from ebm_cli.system.precision import ProductPrecision, Recorded, recorded
from ebm_cli.training.build import make_trainer
from ebm_cli.training.monitor import Monitor
from ebm_cli.training.player import Player
from tests.support import FAST, METHODS, TINY, Ebm, composed, no_pictures, normal

FULL, AMBIENT = ("highest", "float32", ()), ("high", "tf32", ("cpu",))
"""The switches in full precision, and in the process of a caller who has turned them on."""


@pytest.fixture
def ambient() -> Iterator[None]:
    with ProductPrecision(), torch.autocast("cpu"):
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        yield


def recording(monkeypatch: pytest.MonkeyPatch, seen: dict[str, set[Recorded]], **places: tuple[Any, str]) -> None:
    """Note what the switches say whenever these functions are called."""

    def record(owner: Any, name: str, key: str) -> None:
        function = getattr(owner, name)

        def recorded_call(*args: Any, **named: Any) -> Any:
            seen.setdefault(key, set()).add(recorded())
            return function(*args, **named)

        monkeypatch.setattr(owner, name, recorded_call)

    for key, (owner, name) in places.items():
        record(owner, name, key)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_products_are_rounded_in_training_steps_only(precision: str, ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations during training and at its end use full precision."""
    no_pictures(monkeypatch)
    seen: dict[str, set[Recorded]] = {}
    recording(monkeypatch, seen, loss=(NCE, "loss"), monitor=(Monitor, "evaluate"), end=(suite, "evaluate"))
    words = [*FAST, "steps=4", "eval_every=2", f"precision={precision}"]
    assert ebm("train", *words, "hydra.run.dir=run").code == 0
    assert {found.products for found in seen.pop("loss")} == {precision}
    assert seen == {"monitor": {FULL}, "end": {FULL}}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("ambient")
def test_step_computes_in_the_precision_of_its_config(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the caller's autocast, whose switches are as before after the step, and after one that raises."""
    cfg = composed(f"method={method}", "precision=medium", "dataset=eight_gaussians")
    parts = assemble(cfg)
    trainer = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, trainer.rng)
    seen: dict[str, set[Recorded]] = {}
    recording(monkeypatch, seen, loss=(type(parts.method), "loss"), update=(Player, "update"))
    trainer.advance()
    assert {(found.products, found.autocast) for found in seen["loss"] | seen["update"]} == {("medium", ())}
    assert recorded() == AMBIENT
    monkeypatch.setattr(Player, "update", None)
    with pytest.raises(TypeError):
        trainer.advance()
    assert recorded() == AMBIENT


@pytest.mark.usefixtures("ambient")
def test_python_api_computes_in_full_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Log Z and chains, too; the caller's autocast, which would round energies, is on again afterwards."""
    monkeypatch.chdir(tmp_path)
    no_pictures(monkeypatch)
    seen: dict[str, set[Recorded]] = {}
    recording(monkeypatch, seen, log_z=(divergences, "by_quadrature"), chains=(MALA, "step"))
    words = ("metrics=[density,chains]", "steps=2", "dataset=gaussian", "dataset.density.dim=2", "precision=high")
    model = ebm_cli.train(*TINY, *words, quiet=True).model()
    assert (seen, recorded()) == ({"log_z": {FULL}, "chains": {FULL}}, AMBIENT)
    x = normal(20, 2).numpy()
    inside, slope = model.energy(x), model.score(x)
    rough = model.network(model.standardizer.standardise(torch.tensor(x).float())).detach().numpy()
    with ProductPrecision():
        assert np.array_equal(inside, model.energy(x))
        assert np.array_equal(slope, model.score(x))
        assert np.abs(rough - inside).max() > 1e-4
