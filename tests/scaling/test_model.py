"""The model of scaling: its closed forms, its counts against those of the program, and the tables of its page."""

import math

import pytest
import torch

from tests.performance.operations import parts_of, rows
from tests.scaling import model
from tests.scaling.__main__ import GPUS, H100, PAGE, PARAMETERS, seconds, with_tables
from tests.scaling.model import Machine, Method
from tests.support import seeded

SIMPLE = Machine(flops=100.0, memory=40.0, wire=8.0, latency=0.5)


def test_message_has_its_closed_forms() -> None:
    """Two GPUs exchange halves; of many, all send twice the bytes, and a ring waits for each of them."""
    assert model.ring(2, 16.0, SIMPLE) == model.tree(2, 16.0, SIMPLE) == 2 * 0.5 + 16 / 8
    assert model.ring(1024, 1e9, SIMPLE) == pytest.approx(2 * 1023 * 0.5 + 2 * 1023 / 1024 * 1e9 / 8)
    assert model.tree(1024, 1e9, SIMPLE) == pytest.approx(2 * 10 * 0.5 + 2 * 1023 / 1024 * 1e9 / 8)
    assert model.message(1024, 1.0, SIMPLE) == model.tree(1024, 1.0, SIMPLE) < model.ring(1024, 1.0, SIMPLE)


def test_step_is_work_update_and_message() -> None:
    """A network of 10 parameters: 40 bytes, read in a second; 8 sweeps of 5 rows are 800 operations."""
    method = Method(2, moved=1)
    assert (method.sweeps, method.in_turn) == (8, 5)
    assert model.work(method, 5, 10, SIMPLE) == 8.0
    assert model.work(method, 1, 10, SIMPLE) == 5.0
    assert model.update(method, 10, SIMPLE) == 15.0
    assert model.step(method, 1, 5, 10, SIMPLE) == 23.0
    assert model.step(method, 2, 5, 10, SIMPLE) == 23.0 + 2 * 0.5 + 40 / 8
    assert model.annealing(100, 1, 10, SIMPLE) == 100 * 2.0


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_rows_for_a_share_give_that_share(share: float) -> None:
    for method in model.methods(3072).values():
        b = model.rows_for(share, method, GPUS, PARAMETERS, H100)
        assert model.computing(method, GPUS, max(b, 200), PARAMETERS, H100) >= share - 1e-9
        if b > 200:
            assert model.computing(method, GPUS, b, PARAMETERS, H100) == pytest.approx(share)


def test_counts_are_those_of_the_methods() -> None:
    """Energies that are trained, and gradients that chains take, of the losses of the program with default keys."""
    counted = {}
    for name in ("nce", "cnce", "ed", "cd"):
        parts = parts_of(f"method={name}", *(["method.k=5"] if name == "cd" else []))
        counted[name] = parts.method.loss(parts.energy, rows(parts), seeded()).evaluations
    found = model.methods(2)
    assert {name: (found[name].trained, found[name].moved) for name in counted} == {
        name: (each.energy, each.grad) for name, each in counted.items()
    }


def test_overlap_bounds_the_share_that_noise_could_draw() -> None:
    x = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    p, q = (torch.exp(-0.5 * (x / s) ** 2) / (s * math.sqrt(2 * math.pi)) for s in (1.0, 1.5))
    exact = float(torch.trapezoid(p * q / (p + q), x))
    assert 0.97 * model.overlap(1, 1.5) < exact < model.overlap(1, 1.5) < model.overlap(1, 1.0) == 0.5


def test_tables_of_the_page_are_those_of_the_model() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_tables(text), "run `python -m tests.scaling` and review the diff"
    assert with_tables(text.replace("300 ms", "30 ms")) == text
    assert [seconds(value) for value in (31.8, 2.39, 0.0155, 4e-5)] == ["32 s", "2.4 s", "16 ms", "40 µs"]
