"""`init_from=RUN`: a new run begins with the weights of another, or refuses them by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from ebm_cli.errors import UserError
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.assemble import assemble
from ebm_cli.training.init_from import start_from
from tests.support import FAST, Ebm, composed, last, no_pictures, trained

WORDS = (*FAST, "method=nce", "steps=3", "ema=0.5", "optimizer.lr=0.1")


@pytest.fixture
def run(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    no_pictures(monkeypatch)
    assert ebm("train", *WORDS, "hydra.run.dir=run").code == 0
    return tmp_path / "run"


def started(path: Path, method: str = "nce", **keys: Any) -> tuple[Any, list[str]]:
    """The parts of a new run, seeded otherwise, and the remarks."""
    cfg = composed("dataset=gaussian", "dataset.density.dim=3", f"method={method}", "seed=5")
    OmegaConf.update(cfg, "init_from", str(path), force_add=True)
    for key, value in keys.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
    parts = assemble(cfg)
    return parts, start_from(cfg, parts)


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_energy_and_method_begin_with_the_weights(run: Path, weights: str) -> None:
    state = last(run)
    parts, remarks = started(run, init_weights=weights)
    for part, module in (("energy", parts.energy), ("method", parts.method)):
        for name, value in module.named_parameters():
            expected = state["ema"]["mean"][f"{part}.{name}"] if weights == "ema" else state[part][name]
            assert torch.equal(value, expected)
    assert f"starts with the {'averaged' if weights == 'ema' else 'raw'} weights of step 3" in remarks[0]
    assert "the method starts with its trained log_z" in remarks[1]


def test_other_method_takes_the_energy_only(run: Path) -> None:
    parts, remarks = started(run, method="sm")
    assert torch.equal(next(parts.energy.parameters()), next(iter(last(run)["ema"]["mean"].values())))
    assert len(remarks) == 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"energy__width": 4}, r"network.0.weight is \[8, 3\] there and \[4, 3\] here \(energy.width is 8 there and 4"),
        ({"energy__depth": 3}, r"network\.\d.weight is|it has no network\.\d"),
    ],
)
def test_another_network_is_refused_by_its_first_difference(run: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"^init_from={run}: its network is another one: .*({message})") as refused:
        started(run, **keys)
    assert "\n" not in str(refused.value)


def test_rows_of_another_width_are_named_not_the_network(run: Path) -> None:
    with pytest.raises(UserError) as refused:
        started(run, dataset__density__dim=2)
    assert str(refused.value) == (
        f"init_from={run}: its rows have 3 numbers, those of this run 2 numbers, and a network fits one width only "
        "(network.0.weight is [8, 3] there and [8, 2] here); choose the data or the columns to match"
    )


def test_same_shapes_of_another_function_are_named(run: Path) -> None:
    _, remarks = started(run, energy__base=0.7)
    assert "the same weights are another function here: energy.base is 0.2 there and 0.7 here" in remarks[1]


def test_other_units_are_named(run: Path) -> None:
    state = last(run)
    state["dataset"]["standardizer"]["scale"] *= 2
    checkpoints.save(run / "checkpoints" / "last.pt", state)
    assert "its data have other units" in started(run)[1][-1]


def test_new_run_records_its_source_and_resumes_without_it(ebm: Ebm, run: Path, tmp_path: Path) -> None:
    """The interrupted run, continued after its source is gone, ends bit for bit as the uninterrupted one."""
    ran = ebm("train", *WORDS, "init_from=run", "hydra.run.dir=whole")
    assert (ran.code, "init_from=run: starts with the averaged weights of step 3" in ran.out) == (0, True)
    assert OmegaConf.load(tmp_path / "whole" / "config.yaml").init_from == "run"
    plain = ebm("train", *WORDS, "hydra.run.dir=plain")
    assert plain.code == 0
    first, other = (trained(tmp_path / name)["energy"] for name in ("whole", "plain"))
    assert not all(torch.equal(first[name], other[name]) for name in first)
    words = [word for word in WORDS if word != "steps=3"]
    assert ebm("train", *words, "steps=3", "max_seconds=1e-9", "init_from=run", "hydra.run.dir=cut").code == 0
    run.rename(tmp_path / "elsewhere")
    ran = ebm("train", "checkpoint=cut", "max_seconds=null")
    assert (ran.code, ran.err) == (0, "")
    assert "init_from=run: starts" not in ran.out
    second = trained(tmp_path / "cut")["energy"]
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_source_that_is_not_there_is_refused(ebm: Ebm, tmp_path: Path) -> None:
    ran = ebm("train", *WORDS, "init_from=gone", "hydra.run.dir=new")
    assert (ran.code, ran.err) == (1, "ebm: init_from=gone: no such file or directory\n")
    assert not (tmp_path / "new").exists()
