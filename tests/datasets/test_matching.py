"""Columns of a second file in the order of those of the run."""

from collections.abc import Sequence

import pytest
import torch

from ebm_cli.datasets.matching import Matched, match_columns

RUN = ("a", "b")


@pytest.mark.parametrize(
    ("run", "given", "width", "expected"),
    [
        (RUN, ("a", "b"), 2, Matched()),
        (RUN, ("b", "a"), 2, Matched([1, 0])),
        (RUN, ("x", "b", "y", "a"), 4, Matched([3, 1], ("x", "y"))),
        (RUN, None, 2, Matched()),
        (None, ("x", "y"), 2, Matched()),
        (None, None, 2, Matched()),
        (("a", "a"), ("a", "a"), 2, Matched()),
    ],
)
def test_columns_are_matched_by_name_or_by_position(
    run: Sequence[str] | None, given: Sequence[str] | None, width: int, expected: Matched
) -> None:
    assert match_columns(run, (2,), given, (width,)) == expected


@pytest.mark.parametrize(
    ("run", "given", "width", "message"),
    [
        (RUN, ("a", "c"), 2, "has no column b: its columns are a, c, the run was trained on a, b"),
        (RUN, ("A", "B"), 2, "has no column a, b: its columns are A, B, the run was trained on a, b"),
        (RUN, ("a", "b", "b"), 3, "has several columns b: its columns are a, b, b, the run was trained on a, b"),
        (RUN, None, 3, "has 3 columns, the run was trained on 2 columns (a, b)"),
        (None, ("x",), 1, "has 1 column (x), the run was trained on 2 columns"),
    ],
)
def test_columns_that_do_not_match_are_refused_with_both_lists(
    run: Sequence[str] | None, given: Sequence[str] | None, width: int, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message.replace('(', '.').replace(')', '.')}$"):
        match_columns(run, (2,), given, (width,))


def test_matched_rows_are_in_the_order_of_the_run() -> None:
    rows = torch.arange(8.0).view(2, 4)
    assert Matched([3, 1])(rows).tolist() == [[3.0, 1.0], [7.0, 5.0]]
    assert Matched()(rows) is rows


def test_columns_that_are_left_out_are_named() -> None:
    assert Matched().sentence("init=x.csv") is None
    said = Matched([1, 0], ("x", "y")).sentence("init=x.csv")
    assert said == "init=x.csv: columns x, y left out, which the run was not trained on"
