"""MALA and random-walk Metropolis against the dimension."""

from dataclasses import replace

import pytest

from ebm_cli.lecture import LangevinVsMetropolis, langevin_vs_metropolis
from ebm_cli.lecture.langevin_vs_metropolis import KERNELS, PER_MILLION
from ebm_cli.samplers import MALA
from tests.lecture.measurements import passed

SMALL = LangevinVsMetropolis(dims=[4, 32], fit_from=4, n_steps=300, n_chains=32, seed=0)


def test_gradients_help_and_rates_are_optimal() -> None:
    outcome = SMALL.measure([])
    found = passed(outcome)
    assert found["optimal acceptance"]
    assert found["gradients help"]
    assert [row["sampler"] for row in outcome.rows] == ["MALA", "Metropolis"] * 2


def test_step_of_mala_counts_as_two_evaluations() -> None:
    row = replace(SMALL, n_steps=100)._row("MALA", MALA(step_size=0.5), 4)
    assert row[PER_MILLION] == pytest.approx(row["ESS"] / (32 * 2 * 101) * 1e6)


def test_other_acceptance_rates_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a random walk that is not tuned to its optimum."""
    small = replace(SMALL, dims=[4, 8], n_steps=50)
    monkeypatch.setattr(langevin_vs_metropolis, "adapt", lambda kernel, f, x, n, rng: (kernel, kernel.init(f, x, rng)))
    assert passed(small.measure([]))["optimal acceptance"] is False
    assert {name: exponent for name, (_, exponent) in KERNELS.items()} == {"MALA": -1 / 3, "Metropolis": -1.0}
