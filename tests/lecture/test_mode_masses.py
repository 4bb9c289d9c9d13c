"""Masses of modes that chains teach, read from trained mixtures."""

from pathlib import Path
from typing import Any

import pytest

from ebm_cli.energies import Mixture, Quadratic
from ebm_cli.lecture import ModeMasses, mode_masses
from ebm_cli.reporting.figures.chart import empty_chart
from tests.claims.records import make_record
from tests.lecture.measurements import passed

MASSES = ModeMasses(mass=0.25, within=0.03, off_by=0.15)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Runs whose models have the mass that their directory is named after."""

    class Loaded:
        def __init__(self, path: Path) -> None:
            mass = float(path.name)
            self.energy = Mixture((1,), [[-1.0], [1.0]], 1.0, [mass, 1 - mass])

    monkeypatch.setattr(mode_masses, "load", Loaded)
    return [
        make_record({})._replace(
            path=Path(mass), config={"seed": 1, "method": {"weights": weights, "start": start}}
        )
        for mass, weights, start in (
            ("0.23", "jarzynski", "persistent"), ("0.001", "none", "persistent"), ("0.5", "none", "data")
        )
    ]  # fmt: skip


def test_weighted_chains_are_judged_by_the_truth(runs: list[Any]) -> None:
    outcome = MASSES.measure(runs)
    assert passed(outcome) == {"with weights": True, "persistent": True, "from the data": True}
    assert [row["mass of the first mode"] for row in outcome.rows] == pytest.approx([0.23, 0.001, 0.5])
    figure = empty_chart()
    MASSES.draw(figure, outcome)
    assert len(figure.axes[0].get_legend().get_texts()) == 4


def test_masses_that_are_lost_or_found_by_chance_fail(runs: list[Any]) -> None:
    swapped = [run._replace(path=Path(mass)) for run, mass in zip(runs, ("0.2", "0.3", "0.25"), strict=True)]
    assert passed(MASSES.measure(swapped)) == {"with weights": False, "persistent": False, "from the data": False}


def test_another_energy_is_refused(runs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mode_masses, "load", lambda path: type("Loaded", (), {"energy": Quadratic((1,))}))
    with pytest.raises(TypeError, match="must be a mixture, got Quadratic"):
        MASSES.measure(runs)
