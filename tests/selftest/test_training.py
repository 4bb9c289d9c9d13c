"""The checks of training on a device: the CPU in its place passes, and each mistake fails its own fact."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm_cli.optim.flat import Flat
from ebm_cli.selftest import Fact, Harness, Skip, device_modes, device_precision, examine, training
from ebm_cli.selftest.device_modes import DrawnOnCPU, waits
from ebm_cli.selftest.device_precision import compiled_facts, precision_facts
from ebm_cli.selftest.training import CPU, checkpoint_facts, config_of, memory_and_time, method_facts, repeated_fact
from ebm_cli.system.precision import ProductPrecision
from ebm_cli.training.trainer import Trainer
from tests.support import composed, seeded

HARNESS = Harness(lambda words: composed(*words), [], 0, [CPU])


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(training, "N_TIMED", 1)
    with ProductPrecision():
        yield


def by_name(facts: Iterator[Fact | Skip]) -> dict[str, bool | None]:
    """Fact → whether it holds; None where it cannot be measured."""
    return {fact.what: fact.holds if isinstance(fact, Fact) else None for fact in facts}


def test_cpu_passes_in_place_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its waits apart, which are none for a CPU: its steps read numbers that a GPU's do not."""
    monkeypatch.setattr(device_modes, "READS", ())
    found = by_name(method_facts(HARNESS, "cd", CPU))
    names = ["step, float32", "step, float64", "waits in 3 steps", "two equal runs"]
    names += ["checkpoint, to the CPU", "checkpoint, to the device", "time of a step"]
    assert found == {**dict.fromkeys(names, True), "memory returned": None}
    (row,) = examine(HARNESS, "training")
    assert (row.outcome, row.reason) == (
        "skipped",
        "this machine has no other device, and the tests cover this one",
    )


def test_step_that_differs_on_the_device_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that is a thousandth too long in the second of two trainers, which is that of the device."""
    backward, calls = Flat.backward, []

    def wrong(flat: Flat, loss: Tensor) -> None:
        backward(flat, loss)
        calls.append(flat)
        flat.gradients.mul_(1.01 if len(calls) == 2 else 1.0)

    monkeypatch.setattr(Flat, "backward", wrong)
    assert not training.step_fact(HARNESS, "nce", CPU, torch.float64).holds


def test_runs_that_differ_and_lost_weights_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = config_of(HARNESS, "nce", CPU, torch.float32)
    load = Trainer.load_state_dict

    def forgets(trainer: Trainer, state: dict[str, Any]) -> None:
        load(trainer, state)
        next(trainer.energy.parameters()).data[0] = 0

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "load_state_dict", forgets)
        assert by_name(checkpoint_facts(cfg)) == {"checkpoint, to the CPU": False, "checkpoint, to the device": False}
    trained, n = training._trained, iter(range(2))

    def another(cfg: Any) -> Trainer:
        cfg.seed = next(n)
        return trained(cfg)

    monkeypatch.setattr(training, "_trained", another)
    assert not repeated_fact(cfg).holds


def test_memory_that_stays_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = config_of(HARNESS, "nce", CPU, torch.float32)
    for grows, holds in ((0, True), (2**20, False)):
        counts = iter((0, grows))
        monkeypatch.setattr(training, "allocated", lambda device, counts=counts: next(counts))
        assert by_name(memory_and_time(cfg))["memory not returned"] is holds


def test_waits_are_counted_with_their_places() -> None:
    with waits(CPU) as found:
        assert found() == []
        assert float(torch.ones(2).sum()) == 2
        assert found() == ["__float__"]
    assert device_modes.places(["a.py:1", "a.py:1", "b.py:2", "c.py:3"]) == "a.py:1, b.py:2"


def test_draws_of_the_cpu_are_moved_to_their_device() -> None:
    """torch's `meta` device stands for one that cannot draw from a generator of the CPU."""
    with DrawnOnCPU():
        rng = seeded()
        fresh = torch.randn(3, generator=rng, device="meta")
        filled = torch.empty(3, device="meta").random_(0, 2, generator=rng)
        chosen = torch.multinomial(torch.ones(3), 2, generator=rng)
    assert (fresh.device.type, filled.device.type, chosen.device.type) == ("meta", "meta", "cpu")
    moved, plain = rng, seeded()
    torch.randn(3, generator=plain)
    torch.empty(3).random_(0, 2, generator=plain)
    torch.multinomial(torch.ones(3), 2, generator=plain)
    assert torch.equal(moved.get_state(), plain.get_state())


def test_precision_without_its_switches_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU has no TF32; a caller's autocast rounds products unless it is switched off."""
    found = by_name(precision_facts(HARNESS, CPU))
    assert {value for what, value in found.items() if "over high" not in what} == {True}
    assert {value for what, value in found.items() if "over high" in what} == {None}

    monkeypatch.setattr(device_precision, "ProductPrecision", lambda *_: nullcontext())
    found = by_name(precision_facts(HARNESS, CPU))
    assert {what for what, holds in found.items() if holds is False} == {
        "matrices, a caller's autocast",
        "convolutions, a caller's autocast",
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_step_is_compared_and_timed() -> None:
    """TorchDynamo uses what torch has deprecated."""
    assert by_name(compiled_facts(HARNESS, CPU, "eager")) == {"step of sm": True, "time to compile": True}


def test_failure_of_the_compiler_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_precision, "Compiled", lambda *args: args[3]("torch.compile failed (no ptxas)"))
    with pytest.raises(RuntimeError, match="no ptxas"):
        by_name(compiled_facts(HARNESS, CPU))
