"""Counts of draws that come in pieces."""

import pytest
import torch

from ebm_cli.evaluation.chain_summary import worst_diagnostics
from ebm_cli.evaluation.draw_counts import FEWEST_DRAWS, DrawCounts
from tests.support import normal


@pytest.mark.parametrize("sizes", [[40], [1, 2, 37], [7, 7, 7, 7, 7, 5]])
def test_every_third_draw_is_kept_whatever_the_pieces(sizes: list[int]) -> None:
    draws = normal(40, 5, 2)
    counts = DrawCounts(draws[0], 40, thin=10, most=160)
    for piece in draws.split(sizes):
        counts.add(piece)
    assert counts.every == 3
    assert torch.equal(counts.kept, draws[2::3])


def test_all_draws_are_kept_where_they_are_few() -> None:
    draws = normal(40, 5, 2)
    counts = DrawCounts(draws[0], 40, thin=10)
    counts.add(draws)
    assert counts.results().notes == ()
    values, whole = counts.results().values, worst_diagnostics(draws, draws[0], 10).values
    assert values == {key: whole[key] for key in values}


def test_kept_draws_do_not_grow_with_the_draws() -> None:
    """At most `most` numbers, or `FEWEST_DRAWS` draws a chain."""
    for n, most, bound in ((1000, 400, 40), (10_000, 400, 40), (10_000, 10, FEWEST_DRAWS)):
        counts = DrawCounts(torch.zeros(5, 2), n, thin=1, most=most)
        for piece in torch.zeros(n, 5, 2).split(333):
            counts.add(piece)
        assert len(counts.kept) <= bound
    assert "every 625th draw" in counts.results().notes[0]


def test_chains_at_rest_and_lost_draws_are_all_counted() -> None:
    """Also where no kept draw shows them."""
    draws = normal(200, 5, 2)
    draws[:, 1] = draws[0, 1]
    draws[:, 2] = draws[0, 2]
    draws[0, 2, 0] = 7.0
    draws[3, 4, 1] = torch.inf
    counts = DrawCounts(draws[0], 200, thin=1, most=160)
    for piece in draws.split(9):
        counts.add(piece)
    assert counts.kept.isfinite().all()
    found = counts.results().values
    assert (found["sampler/never_moved"], found["sampler/non_finite"], found["sampler/n_draws"]) == (1, 1, 1000)


def test_counts_continue_from_their_state() -> None:
    draws = normal(40, 5, 2)
    whole, first, second = (DrawCounts(draws[0], 40, thin=10, most=160) for _ in range(3))
    whole.add(draws)
    first.add(draws[:11])
    second.load_state_dict(first.state_dict())
    second.add(draws[11:])
    assert torch.equal(second.kept, whole.kept)
    assert second.results() == whole.results()
