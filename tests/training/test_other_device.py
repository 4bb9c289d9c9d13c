"""A run that continues on another kind of device, whose generators have states of another kind."""

from pathlib import Path

import pytest
import torch

from ebm_cli.rng import restore
from ebm_cli.runs import checkpoint as checkpoints
from tests.support import FAST, Ebm, differences, last, no_pictures, seeded, status_of

PHILOX = torch.arange(16, dtype=torch.uint8)
"""The state of a generator of CUDA: a seed and an offset."""


def test_state_of_another_kind_of_generator_becomes_a_seed() -> None:
    one, two, other = seeded(1), seeded(2), seeded(3)
    restore(one, PHILOX)
    restore(two, PHILOX)
    restore(other, PHILOX + 1)
    draws = [torch.rand(3, generator=rng) for rng in (one, two, other)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    state = two.get_state()
    restore(other, state)
    assert torch.equal(other.get_state(), state)


@pytest.mark.parametrize("rows", ["null", "40"])
def test_run_of_a_gpu_continues_on_a_cpu(rows: str, ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are continued, and it says that its random numbers are others; of fresh rows and of epochs."""
    no_pictures(monkeypatch)
    run, words = tmp_path / "run", [*FAST, "eval_every=null", f"dataset.n_train={rows}"]
    assert ebm("train", *words, "steps=2", "hydra.run.dir=run").code == 0
    state = last(run)
    state["config"]["device"], state["rng"] = "cuda", PHILOX
    state["dataset"]["batches"] |= {key: PHILOX for key in ("rng", "epoch_rng") if key in state["dataset"]["batches"]}
    checkpoints.save(run / "checkpoints" / "last.pt", {key: value for key, value in state.items() if key != "format"})
    ran = ebm("train", "checkpoint=run", "device=cpu", "steps=3")
    assert (ran.code, status_of(run)["state"]) == (0, "finished")
    assert "resumed on cpu, before on cuda: weights, optimizer and chains" in " ".join(ran.out.split())
    assert differences(state["energy"], last(run)["energy"])
    again = ebm("train", "checkpoint=run", "steps=4")
    assert (again.code, "before on" in again.out) == (0, False)
