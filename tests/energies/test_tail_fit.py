"""Heights of maximum likelihood give a model the tails of the rows, and it changes no more than that asks for."""

import math

import pytest
import torch

from ebm_cli.energies.column_tails import ColumnTails, Tails
from ebm_cli.energies.tail_fit import GUESS, SMALLEST, fit_heights, prior_variance, steps_of
from tests.support import normal


def test_height_of_one_step_is_a_ratio_of_odds() -> None:
    """For the indicator of a set with share a under the draws and b among the rows, exp(−h) = b(1 − a)/(a(1 − b)).

    The prior, with 40,000 draws in the set, moves it by less than 0.001.
    """
    n, a, b = 2_000_000, 0.02, 0.005
    draws = (torch.arange(n) < n * a).double().unsqueeze(1)
    found = fit_heights(torch.tensor([b]).double(), 10**9, draws, torch.zeros(n).double())
    assert float(-found) == pytest.approx(math.log(b * (1 - a) / (a * (1 - b))), abs=1e-3)


def test_step_that_no_draw_reaches_leaves_the_others() -> None:
    n = 100_000
    draws = torch.zeros(n, 2).double()
    draws[: n // 50, 0] = 1
    rows, log_w = torch.tensor([0.005, 0.002]).double(), torch.zeros(n).double()
    both, alone = fit_heights(rows, 10**6, draws, log_w), fit_heights(rows[:1], 10**6, draws[:, :1], log_w)
    assert both.tolist() == pytest.approx([float(alone), 0.0], abs=1e-3)
    assert float(alone) > 1


def test_weighted_draws_get_the_means_of_the_rows() -> None:
    """Draws of N(0, I), weighted to have the mean 0.2, and rows that are wider."""
    rows, draws = 1.1 * normal(20_000, 2, seed=1), normal(300_000, 2, seed=2)
    log_w = 0.2 * draws.sum(1)
    tails = ColumnTails(2).double()
    tails.take(steps_of(rows))
    of_rows, of_draws = (tails.steps(x).flatten(1) for x in (rows, draws))
    heights = fit_heights(of_rows.mean(0), 10**9, of_draws, log_w)
    before, after = log_w.softmax(0) @ of_draws, (log_w - of_draws @ heights).softmax(0) @ of_draws
    torch.testing.assert_close(after, of_rows.mean(0), atol=0.0, rtol=0.05)
    assert ((before / of_rows.mean(0)).log().abs() > 0.5).sum() >= 2


def test_tail_that_few_draws_know_stays_as_it_is() -> None:
    """Rows ask for twice the draws in a step: of log 2, ten draws allow a part, and 10,000 nearly all.

    The gradient of L is 0: φ̄ + φ̄ h/(m s²) = a e^−h/(1 − a + a e^−h), with m draws in the step, a share a = 0.01.
    """
    for n, least, most in ((1000, 0.5, 0.6), (1_000_000, 0.69, math.log(2) + 0.02)):
        draws = (torch.arange(n) < n // 100).double().unsqueeze(1)
        h = float(fit_heights(torch.tensor([0.02]).double(), 10**9, draws, torch.zeros(n).double()))
        assert least < -h < most
        tilted = 0.01 * math.exp(-h)
        error = 100 / n
        s2 = (4 * 0.49 + math.log(2) ** 2 - error) / 5
        assert 0.02 * (1 + h * error / s2) == pytest.approx(tilted / (0.99 + tilted), rel=1e-4)


def test_prior_is_as_wide_as_tails_are_off() -> None:
    """1,000 steps whose log ratios have the variance s² + 0.1 give back s², within [0.3², 0.7²]."""
    error, noise = torch.full((1000,), 0.1).double(), normal(1000, 1, seed=4).flatten()
    for s, found in ((0.5, 0.5), (0.0, SMALLEST), (2.0, GUESS)):
        of_model = torch.exp(-noise * (s**2 + 0.1) ** 0.5)
        assert prior_variance(torch.ones(1000).double(), of_model, error) == pytest.approx(found**2, rel=0.1)
    unknown = torch.full((2,), 1000.0).double()
    assert prior_variance(unknown / 1e6, torch.zeros(2).double(), unknown) == pytest.approx(GUESS**2)


def test_steps_have_the_shares_of_the_rows() -> None:
    """Positive widths are those of the upper side."""
    rows = normal(20_000, 3)
    steps = steps_of(rows)
    assert steps.heights.shape == (3, 4)
    beyond = torch.where(steps.widths > 0, rows.unsqueeze(-1) > steps.thresholds, rows.unsqueeze(-1) < steps.thresholds)
    assert beyond.sum(0).tolist() == [[20, 60, 20, 60]] * 3
    assert [list(side) for side in (steps.widths > 0)] == [[False] * 2 + [True] * 2] * 3


def test_few_rows_have_few_steps() -> None:
    assert steps_of(normal(1000, 2)).heights.shape == (2, 2)
    assert steps_of(normal(999, 2)).heights.shape == (2, 0)


def test_equal_rows_have_steps_of_some_width() -> None:
    assert (steps_of(torch.zeros(1000, 1)).widths.abs() > 0).all()


def test_slopes_of_tails_equal_autograd() -> None:
    tails = ColumnTails(2).double()
    assert tails.is_zero
    assert not tails.state_dict()
    steps = steps_of(normal(5000, 2))
    tails.take(steps._replace(heights=normal(*steps.heights.shape, seed=3)))
    x = (3 * normal(50, 2, seed=4)).requires_grad_()
    value, first, second = tails.slopes(x)
    (gradient,) = torch.autograd.grad(tails(x).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(gradient.sum(), x)
    torch.testing.assert_close(value, tails(x))
    torch.testing.assert_close(first, gradient)
    # Each coordinate has its own steps: there are no mixed derivatives.
    torch.testing.assert_close(second, curvature)


def test_tails_of_other_columns_are_refused() -> None:
    with pytest.raises(TypeError, match="tails of 2 coordinates"):
        ColumnTails(2).take(Tails(*torch.zeros(3, 3, 1)))
