"""Divergence is noticed, with the step where it began and a remedy."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets.batches import Batches
from ebm_cli.densities import Density, Gaussian
from ebm_cli.methods import FCE, NCE, Symptom
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.status import read_status
from ebm_cli.training.build import make_trainer
from ebm_cli.training.guard import MAX_STEPS_HELD, Diverged, Guard
from tests.support import FAST, METHODS, TINY, Ebm, composed, no_pictures

SHORT = [*TINY, "metrics=[score]", "steps=60", "log_every=10", "checkpoint_every=10", "eval_every=null"]
SHORT += ["schedule=constant"]
DIVERGING = ["method=nce", "dataset=moons", "energy.width=128", "optimizer.lr=10"]
"""A learning rate of 10 on a network that is no toy."""


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


@pytest.mark.parametrize(
    ("loss", "grad_norm", "what"),
    [(math.nan, 1.0, "the loss"), (-math.inf, math.nan, "the loss"), (1.0, math.inf, "the gradient")],
)
def test_guard_names_the_first_non_finite_step(loss: float, grad_norm: float, what: str) -> None:
    guard = Guard(5, torch.device("cpu"))
    for step in (41, 42, 43, 44):
        bad = step >= 43
        guard.observe(step, torch.tensor(loss if bad else 1.0), torch.tensor(grad_norm if bad else 1.0))
    diverged = guard.read()
    assert diverged is not None
    assert diverged.step == 43
    assert str(diverged).startswith(f"diverged at step 43: {what} is not finite; lower optimizer.lr")
    assert diverged.exit_code == 3
    assert guard.read() is None


def test_guard_finds_nothing_in_sound_steps() -> None:
    guard = Guard(2, torch.device("cpu"))
    for step in range(1, 9):
        guard.observe(step, torch.tensor(1.0), torch.tensor(1.0))
        if step % 2 == 0:
            assert guard.read() is None


# --- symptoms ---------------------------------------------------------------------------------------------------------


HIGH = Symptom("m", 10.0, "m is high", "lower m", steps=3)
LOW = Symptom("loss", 0.1, "the loss is low", "raise it", below=True)


def read_guard(
    values: list[float], *symptoms: Symptom, interval: int = 4, held: int = MAX_STEPS_HELD
) -> Diverged | None:
    """Result of a guard that is read every `interval` steps and sees these values of m, and a loss of 1."""
    guard = Guard(interval, torch.device("cpu"), symptoms, held=held)
    for step, value in enumerate(values, start=1):
        guard.observe(step, torch.tensor(1.0), torch.tensor(1.0), {"m": torch.tensor(value)})
        if step % interval == 0 or step == len(values):
            found = guard.read()
            if found is not None:
                return found
    return None


RATIO = Symptom("m", 4.0, "m is four times n", "add n", steps=2, over="n", least=10.0, is_of_data=True)


def test_symptom_of_a_ratio_reads_both_metrics() -> None:
    guard = Guard(8, torch.device("cpu"), (LOW, RATIO))
    for step, (m, n) in enumerate([(8, 1), (12, 2), (12, 3), (12, 2), (12, 2)], start=1):
        guard.observe(step, torch.tensor(1.0), torch.tensor(1.0), {"m": torch.tensor(m), "n": torch.tensor(n)})
    found = guard.read()
    assert found is not None
    assert (found.step, found.is_of_data) == (4, True)


def test_lasting_symptom_is_dated_from_its_first_step() -> None:
    found = read_guard([0, 0, 11, -11, 11, 0], HIGH)
    assert str(found) == "diverged at step 3: m is high; lower m"
    assert (found.step, found.exit_code) == (3, 3) if found else False


def test_passing_symptom_is_ignored() -> None:
    assert read_guard([0, 11, 11, 0, 11, 11, 10, 11, 11], HIGH) is None


def test_symptom_that_began_first_is_named() -> None:
    early = Symptom("m", 5.0, "m is above five", "lower m", steps=6)
    found = read_guard([6, 11, 11, 11, 11, 11, 11], HIGH, early)
    assert found is not None
    assert (found.step, "above five" in str(found)) == (2, False)
    found = read_guard([6, 11, 11, 11, 11, 11, 11], HIGH, early, interval=8)
    assert found is not None
    assert (found.step, "above five" in str(found)) == (1, True)


def test_small_loss_can_be_a_symptom() -> None:
    guard = Guard(2, torch.device("cpu"), (LOW,))
    guard.observe(1, torch.tensor(-0.05), torch.tensor(1.0), {})
    assert "the loss is low" in str(guard.read())


def test_guard_examines_by_itself_what_it_cannot_hold() -> None:
    assert read_guard([0] * 30, HIGH, interval=2**31 - 1, held=4) is None
    found = read_guard([0, 0, 11, 11, 11, *[0] * 25], HIGH, interval=2**31 - 1, held=4)
    assert found is not None
    assert found.step == 3


@pytest.mark.parametrize("method", METHODS)
def test_symptoms_of_a_method_are_metrics_of_its_steps(method: str) -> None:
    """With a clamp for methods that have one; and no step of a sound run shows a symptom."""
    words = ["sampler=langevin", "sampler.clamp_sample=50"] if method in ("cd", "pcd") else []
    cfg = composed(*TINY, f"method={method}", *words, "steps=12", "log_every=12")
    parts = assemble(cfg)
    trainer = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, trainer.rng)
    symptoms = parts.method.symptoms()
    assert symptoms
    for _ in range(12):
        metrics = trainer.advance().metrics
        assert {name for symptom in symptoms for name in symptom.metrics} - {"loss"} <= set(metrics)
    assert trainer.guard.read() is None
    assert len(symptoms) == (3 if words else 1 if method in ("dsm", "mle") else 2)


# --- runs that diverge ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "symptom"),
    [
        (
            ["method=cd", "sampler=langevin", "sampler.step_size=3.0", "energy.base=2.0", "method.k=100"],
            "most chains have diverged",
        ),
        (["method=cd", "sampler=langevin", "optimizer.lr=10"], "the energies have exploded"),
        (DIVERGING, "the energies have exploded, the classifier"),
        (["method=sm", "optimizer.lr=10", "energy.width=128", "steps=100"], "the loss has exploded"),
        (
            ["method=cd", "sampler=langevin", "sampler.clamp_sample=0.01", "steps=150", "checkpoint_every=50"],
            "most coordinates of the chains are at their bound sampler.clamp_sample",
        ),
    ],
)
def test_diverged_run_ends_with_its_symptom(ebm: Ebm, tmp_path: Path, words: list[str], symptom: str) -> None:
    ran = ebm("train", *SHORT, *words, "hydra.run.dir=run")
    status = read_status(tmp_path / "run")
    assert status is not None
    assert (ran.code, status["state"]) == (3, "diverged")
    assert ran.err.startswith(f"ebm: diverged at step {status['step']}: {symptom}")
    assert len(ran.err.splitlines()) == 1
    for file in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        assert checkpoints.first_non_finite(checkpoints.read(file)) is None


def diverged(method: Any, data: Tensor, steps: int, *words: str) -> Diverged | None:
    """Result of the guard while a method trains a small energy on these rows."""
    cfg = composed(*FAST, f"steps={steps}", f"log_every={steps}", "schedule=constant", "optimizer.lr=0.05", *words)
    parts = assemble(cfg)
    trainer = make_trainer(cfg, type(parts)(parts.dataset, parts.energy, method))
    trainer.batches = Rows(data)
    for _ in range(steps):
        trainer.advance()
    return trainer.guard.read()


class Rows(Batches):
    """The same rows at every step."""

    def __init__(self, data: Tensor) -> None:
        self.data = data

    def next(self) -> Tensor:
        return self.data

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def test_noise_far_from_the_data_saturates_the_classifier() -> None:
    rows = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    far = diverged(NCE(Gaussian(rows + 30)), rows, 500)
    assert "the classifier is saturated" in str(far)
    assert far is not None
    assert far.step < 300
    assert diverged(NCE(Gaussian(rows)), rows, 500) is None


class FarFlow(Density):
    """A flow far from all data."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = (3,)
        self.mean = torch.nn.Parameter(torch.full((3,), 1e4))

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.mean + 1e-2 * torch.randn(n, 3, generator=rng)

    def log_prob(self, x: Tensor) -> Tensor:
        return -((x - self.mean) ** 2).sum(1) / 2e-4


def test_collapsed_flow_is_named() -> None:
    rows = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    assert "diverged at step 1: the " in str(diverged(FCE(FarFlow()), rows, 3))
    [collapsed] = [symptom for symptom in FCE(FarFlow()).symptoms() if symptom.metric == "flow_nll"]
    assert "the flow has collapsed" in collapsed.meaning
    out = FCE(FarFlow()).loss(assemble(composed(*FAST)).energy, rows, torch.Generator().manual_seed(0))
    assert bool(collapsed.detect(out.metrics["flow_nll"]))
