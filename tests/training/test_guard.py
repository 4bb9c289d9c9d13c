"""A run that is lost says so in a word, and where it may, goes back and on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm_cli.datasets.batches import Batches
from ebm_cli.densities import Density, Gaussian
from ebm_cli.methods import FCE, NCE, Symptom
from ebm_cli.reporting.jsonl import read
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.status import read_status
from ebm_cli.training.build import make_trainer
from ebm_cli.training.guard import MAX_STEPS_HELD, Diverged, Guard
from ebm_cli.training.rollback import MAX_ROLLBACKS, RATE_FACTOR, Rollbacks
from tests.support import FAST, METHODS, TINY, Ebm, composed, last, no_pictures

SHORT = (
    *TINY,
    "metrics=[score]",
    "steps=60",
    "log_every=10",
    "checkpoint_every=10",
    "eval_every=null",
    "schedule=constant",
)
BOLTING = ("method=nce", "dataset=moons", "energy.width=128", "optimizer.lr=10")
"""A learning rate of 10 on a network that is no toy."""


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)


# --- symptoms ---------------------------------------------------------------------------------------------------------

HIGH = Symptom("m", 10.0, "m is high", "lower m", steps=3)
LOW = Symptom("loss", 0.1, "the loss is low", "raise it", below=True)


def seen(values: list[float], *symptoms: Symptom, interval: int = 4, held: int = MAX_STEPS_HELD) -> Diverged | None:
    """What a guard that is read every `interval` steps says of these values of m; the loss is 1."""
    guard = Guard(interval, torch.device("cpu"), symptoms, held=held)
    for step, value in enumerate(values, start=1):
        guard.observe(step, torch.tensor(1.0), torch.tensor(1.0), {"m": torch.tensor(value)})
        if step % interval == 0 or step == len(values):
            found = guard.read()
            if found is not None:
                return found
    return None


def test_a_symptom_that_lasts_is_named_with_the_step_where_it_began() -> None:
    found = seen([0, 0, 11, -11, 11, 0], HIGH)
    assert str(found) == "diverged at step 3: m is high; lower m"
    assert (found.step, found.exit_code) == (3, 3) if found else False


def test_a_symptom_that_passes_is_none() -> None:
    assert seen([0, 11, 11, 0, 11, 11, 10, 11, 11], HIGH) is None


def test_the_first_to_begin_is_named() -> None:
    early = Symptom("m", 5.0, "m is above five", "lower m", steps=6)
    found = seen([6, 11, 11, 11, 11, 11, 11], HIGH, early)
    assert found is not None
    assert (found.step, "above five" in str(found)) == (2, False)
    found = seen([6, 11, 11, 11, 11, 11, 11], HIGH, early, interval=8)
    assert found is not None
    assert (found.step, "above five" in str(found)) == (1, True)


def test_a_small_loss_can_be_a_symptom() -> None:
    guard = Guard(2, torch.device("cpu"), (LOW,))
    guard.observe(1, torch.tensor(-0.05), torch.tensor(1.0), {})
    assert "the loss is low" in str(guard.read())


def test_guard_examines_by_itself_what_it_cannot_hold() -> None:
    assert seen([0] * 30, HIGH, interval=2**31 - 1, held=4) is None
    found = seen([0, 0, 11, 11, 11, *[0] * 25], HIGH, interval=2**31 - 1, held=4)
    assert found is not None
    assert found.step == 3


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_watches_is_a_metric_of_every_step(method: str) -> None:
    """With a clamp where it has one; and no step of a sound run shows a symptom."""
    words = ["sampler=langevin", "sampler.clamp_sample=50"] if method in ("cd", "pcd") else []
    cfg = composed(*TINY, f"method={method}", *words, "steps=12", "log_every=12")
    parts = assemble(cfg)
    trainer = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, trainer.rng)
    symptoms = parts.method.symptoms()
    assert symptoms
    for _ in range(12):
        metrics = trainer.advance().metrics
        assert {symptom.metric for symptom in symptoms} - {"loss"} <= set(metrics)
    assert trainer.guard.read() is None
    assert len(symptoms) == (3 if words else 1 if method in ("sm", "ssm", "dsm", "mle") else 2)


# --- driven to happen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (
            ["method=cd", "sampler=langevin", "sampler.step_size=3.0", "energy.base=2.0", "method.k=100"],
            "most chains have diverged",
        ),
        (["method=cd", "sampler=langevin", "optimizer.lr=10"], "the energies have exploded"),
        ([*BOLTING], "the energies have exploded, the classifier"),
        (["method=sm", "optimizer.lr=10", "energy.width=128", "steps=100"], "the loss has exploded"),
        (
            ["method=cd", "sampler=langevin", "sampler.clamp_sample=0.01", "steps=150", "checkpoint_every=50"],
            "most coordinates of the chains are at their bound sampler.clamp_sample",
        ),
    ],
)
def test_a_lost_run_ends_with_the_word_for_it(ebm: Ebm, tmp_path: Path, words: list[str], what: str) -> None:
    ran = ebm("train", *SHORT, *words, "hydra.run.dir=run")
    status = read_status(tmp_path / "run")
    assert status is not None
    assert (ran.code, status["state"]) == (3, "diverged")
    assert ran.err.startswith(f"ebm: diverged at step {status['step']}: {what}")
    assert len(ran.err.splitlines()) == 1
    for file in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        assert checkpoints.first_non_finite(checkpoints.read(file)) is None


def trained(method: Any, data: Tensor, steps: int, *words: str) -> Diverged | None:
    """The guard's word on a method that trains a small energy on these rows."""
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
    far = trained(NCE(Gaussian(rows + 30)), rows, 500)
    assert "the classifier is saturated" in str(far)
    assert far is not None
    assert far.step < 300
    assert trained(NCE(Gaussian(rows)), rows, 500) is None


class Gone(Density):
    """A flow that has gone where no data are."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = (3,)
        self.mean = torch.nn.Parameter(torch.full((3,), 1e4))

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self.mean + 1e-2 * torch.randn(n, 3, generator=rng)

    def log_prob(self, x: Tensor) -> Tensor:
        return -((x - self.mean) ** 2).sum(1) / 2e-4


def test_a_flow_that_collapses_is_named() -> None:
    rows = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    assert "diverged at step 1: the " in str(trained(FCE(Gone()), rows, 3))
    [collapsed] = [symptom for symptom in FCE(Gone()).symptoms() if symptom.metric == "flow_nll"]
    assert "the flow has collapsed" in collapsed.meaning
    out = FCE(Gone()).loss(assemble(composed(*FAST)).energy, rows, torch.Generator().manual_seed(0))
    assert bool(collapsed.detect(out.metrics["flow_nll"]))


# --- going back -------------------------------------------------------------------------------------------------------


def test_it_goes_back_lowers_the_rate_and_goes_on(ebm: Ebm, tmp_path: Path) -> None:
    ran = ebm("train", *SHORT, *BOLTING, "guard=rollback", "hydra.run.dir=run")
    assert (ran.code, ran.err) == (0, "")
    status = read_status(tmp_path / "run")
    assert status is not None
    assert (status["state"], status["step"]) == ("finished", 60)
    done = status["rollbacks"]
    assert 1 <= len(done) <= MAX_ROLLBACKS
    assert all(back["to"] < back["step"] and "the energies have exploded" in back["reason"] for back in done)
    state = last(tmp_path / "run")
    assert state["rollbacks"] == done
    [group] = state["optimizers"]["energy"]["param_groups"]
    assert group["lr"] == pytest.approx(10 * RATE_FACTOR ** len(done))
    steps = [row["step"] for row in read(tmp_path / "run" / "metrics.jsonl")]
    assert steps == sorted(set(steps))
    assert "guard=rollback" in ran.out
    assert json.loads((tmp_path / "run" / "results.json").read_text())


def test_it_goes_back_a_bounded_number_of_times(ebm: Ebm, tmp_path: Path) -> None:
    words = ["method=cd", "sampler=langevin", "sampler.step_size=3.0", "energy.base=2.0", "method.k=100"]
    ran = ebm("train", *SHORT, *words, "guard=rollback", "hydra.run.dir=run")
    status = read_status(tmp_path / "run")
    assert status is not None
    assert (ran.code, status["state"], len(status["rollbacks"])) == (3, "diverged", MAX_ROLLBACKS)
    assert "most chains have diverged" in ran.err


def test_what_is_ignored_goes_on(ebm: Ebm, tmp_path: Path) -> None:
    words = [*BOLTING, "guard=ignore", "hydra.run.dir=run"]
    assert ebm("train", *SHORT, *words).code == 0
    status = read_status(tmp_path / "run")
    assert status is not None
    assert (status["state"], status.get("rollbacks")) == ("finished", None)


def test_returns_since_the_checkpoint_add_up() -> None:
    """A checkpoint of before both returns is slowed down twice, one that has the first behind it once."""
    error = Diverged(7, "the loss is not finite")
    rollbacks = Rollbacks()
    assert rollbacks.record(error, {"step": 5, "rollbacks": []}) == RATE_FACTOR
    assert rollbacks.record(error, {"step": 5, "rollbacks": []}) == RATE_FACTOR**2
    assert rollbacks.record(error, {"step": 6, "rollbacks": rollbacks.history[:2]}) == RATE_FACTOR
    assert "back to step 6" in rollbacks.describe()
    assert rollbacks.attempts_left == MAX_ROLLBACKS - 3


def test_a_run_that_went_back_resumes_bit_for_bit(ebm: Ebm, tmp_path: Path) -> None:
    words = (*SHORT, *BOLTING, "guard=rollback", "log_every=20", "checkpoint_every=20")
    assert ebm("train", *words, "hydra.run.dir=whole").code == 0
    assert ebm("train", *words, "keep=9", "hydra.run.dir=parts").code == 0
    folder = tmp_path / "parts" / "checkpoints"
    checkpoints.link(folder / "step-00000040.pt", folder / "last.pt")
    status = json.loads((tmp_path / "parts" / "status.json").read_text())
    (tmp_path / "parts" / "status.json").write_text(json.dumps(status | {"state": "interrupted", "step": 40}))
    assert ebm("train", "checkpoint=parts").code == 0
    one, two = (last(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.equal(one["energy"][key], two["energy"][key]) for key in one["energy"])
    assert one["rollbacks"] == two["rollbacks"] != []
