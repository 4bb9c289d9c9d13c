"""The values that a search chooses from, in Hydra's grammar."""

import pytest

from ebm_cli.cli.search_space import Numbers, Words, read_space
from ebm_cli.errors import UserError


def test_overrides_are_values_to_choose_or_fixed() -> None:
    space, fixed = read_space(["steps=9", "lr=interval(1e-4,1e-2)", "method=nce,sm", "+x=[1,2]", "w=range(1,10,3)"])
    assert fixed == ["steps=9", "+x=[1,2]"]
    assert space == {
        "lr": Numbers(1e-4, 1e-2, is_log=True),
        "method": Words(("nce", "sm")),
        "w": Numbers(1, 7, is_whole=True, step=3.0),
    }


@pytest.mark.parametrize(
    ("word", "values", "text"),
    [
        ("a=interval(0,1)", Numbers(0, 1), "0 to 1"),
        ("a=int(interval(0,1))", Numbers(0, 1, is_whole=True), "0 to 1"),
        ("a=interval(0.5,1)", Numbers(0.5, 1), "0.5 to 1"),
        ("a=interval(0.01,1.0)", Numbers(0.01, 1.0, is_log=True), "0.01 to 1, in logarithms"),
        ("a=interval(0.0,1.0)", Numbers(0.0, 1.0), "0 to 1"),
        ("a=tag(linear,interval(0.01,1.0))", Numbers(0.01, 1.0), "0.01 to 1"),
        ("a=tag(log,interval(1,9))", Numbers(1, 9, is_log=True), "1 to 9, in logarithms"),
        ("a=choice(x,y)", Words(("x", "y")), "x or y"),
        ("a=range(0.0,1.0,0.5)", Numbers(0.0, 0.5, step=0.5), "0 to 0.5, in steps of 0.5"),
    ],
)
def test_kinds_of_values(word: str, values: Numbers | Words, text: str) -> None:
    space, fixed = read_space([word])
    assert (space, fixed, str(space["a"])) == ({"a": values}, [], text)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("seed=1", "nothing to search: give a key an interval, such as 'optimizer.lr=interval"),
        ("a=interval(2,1)", r"a=interval\(2,1\): the first number of an interval must be below the second"),
        ("a=tag(log,interval(0,1))", "an interval in logarithms needs positive numbers"),
        ("a=interval(1,inf)", "the ends of an interval are numbers"),
        ("a=tag(lin,interval(1,2))", "a tag is log or linear, not lin"),
        ("a=range(5,1)", r"a=range\(5,1\): no number in this range"),
    ],
)
def test_values_that_cannot_be_are_refused(word: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        read_space([word])
