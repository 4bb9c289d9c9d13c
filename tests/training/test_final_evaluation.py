"""The final evaluation of a run in a process that has its checkpoint alone: the bits of the end of training."""

import json
from pathlib import Path

import pytest
import torch

from ebm_cli.runs.model import load
from ebm_cli.training.final_evaluation import FinalEvaluation, Stored, evaluate_stored
from ebm_cli.training.monitor import Monitor
from tests.support import FAST, Ebm, last, no_pictures

WORDS = (*FAST, "method=nce", "energy=mlp", "ema=0.5", "optimizer.lr=0.05", "seed=3")
TIMED = ("sampler/ess_per_second",)


@pytest.mark.parametrize("words", [["steps=4"], ["steps=12", "eval_every=2", "patience=1"]])
def test_stored_weights_have_the_bits_of_the_run(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    no_pictures(monkeypatch)
    values = iter(range(20))
    # The first evaluation is the best.
    monkeypatch.setattr(Monitor, "value", lambda monitor, results: float(next(values)))
    kept: list[tuple[Stored, torch.Tensor | None]] = []
    answer = FinalEvaluation.answer

    def keep(asked: FinalEvaluation):
        made = answer(asked)
        kept.append((asked.stored, made.evaluation.samples))
        return made

    monkeypatch.setattr(FinalEvaluation, "answer", keep)
    ran = ebm("train", *WORDS, *words, "metrics=[score,samples]", "hydra.run.dir=run")
    assert ran.code in (0, 4)
    [(stored, samples)] = kept
    is_best = len(words) > 1
    assert stored.file.name == ("best.pt" if is_best else "last.pt")
    # The control: with patience the weights are not those of the last step.
    assert (load(stored.file).step < last(tmp_path / "run")["step"]) == is_best
    stages: list[tuple[str, int, int]] = []
    found = evaluate_stored(stored, "auto", lambda *stage: stages.append(stage)).evaluation
    assert [number for _, number, _ in stages] == [1, 2]
    assert samples is not None
    assert found.samples is not None
    assert torch.equal(found.samples, samples)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    values = {key: value for key, value in found.results.values.items() if key not in TIMED}
    assert len(values) >= 5
    assert values == {key: results[key] for key in values}
