"""Contrastive divergence with chains that are too short, on a Gaussian."""

from math import log, sqrt
from typing import Any

import pytest

from ebm_cli.lecture import ShortChains
from ebm_cli.lecture.short_chains import learned_kl, learned_precision
from ebm_cli.reporting.figures.chart import empty_chart
from ebm_cli.runs.record import Record
from tests.claims.records import make_record
from tests.lecture.measurements import passed


@pytest.mark.parametrize("k", [1, 5, 40])
def test_chains_from_data_have_the_bias_of_the_step_alone(k: int) -> None:
    assert learned_precision(k, 0.1, 1.0) == pytest.approx((1 - sqrt(1 - 0.2)) / 0.1)


@pytest.mark.parametrize("k", [1, 3, 20])
def test_chains_from_noise_end_with_the_variance_of_the_data(k: int) -> None:
    precision, variance = learned_precision(k, 0.05, 2.0), 4.0
    for _ in range(k):
        variance = (1 - 0.05 * precision) ** 2 * variance + 2 * 0.05
    assert variance == pytest.approx(1)


def test_divergence_is_that_of_two_gaussians() -> None:
    precision = (1 - sqrt(0.9 / 4)) / 0.05
    assert learned_kl(3, 1, 0.05, 2.0) == pytest.approx(1.5 * (precision - 1 - log(precision)))


def cd_run(start: str, k: int, factor: float) -> Record:
    """A run of cd whose KL is the closed form times a factor."""
    truth = learned_kl(2, k, 0.1, 2.0 if start == "noise" else 1.0)
    config: dict[str, Any] = {"method": {"start": start, "k": k}, "dataset": {"density": {"dim": 2}}}
    config |= {"sampler": {"step_size": 0.1}, "noise": {"widen": 2.0}}
    return make_record({"eval/kl": factor * truth})._replace(config=config)


def test_runs_are_compared_with_the_closed_form() -> None:
    claim = ShortChains(within=0.1, floor=0.0)
    right = [cd_run(start, k, 1.05) for start in ("noise", "data") for k in (1, 5, 20)]
    outcome = claim.measure(right)
    assert passed(outcome) == {"closed form": True}
    assert [row["steps k"] for row in outcome.rows] == [1, 1, 5, 5, 20, 20]
    assert passed(claim.measure([*right, cd_run("noise", 50, 1.2)])) == {"closed form": False}
    figure = empty_chart()
    claim.draw(figure, outcome)
    assert "chains from noise" in figure.axes[0].get_legend_handles_labels()[1]


@pytest.mark.parametrize("keys", [{"within": 0.0, "floor": 0.0}, {"within": 0.1, "floor": -1.0}])
def test_tolerance_out_of_range_is_refused(keys: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be >"):
        ShortChains(**keys)
