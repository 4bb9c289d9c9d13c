"""Types of constructor arguments: whether a value has the type of an annotation, and the annotation in words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from ebm_cli.config.type_checks import convert, describe_type, has_type
from ebm_cli.errors import UserError


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, float, True), (1.5, float, True), (True, float, False), (float("nan"), float, False), ("1", float, False),
        (1, int, True), (1.0, int, False), (True, int, False), (True, bool, True), (1, bool, False), ("a", str, True),
        (None, float | None, True), (2, float | None, True), ("a", float | None, False), (None, float, False),
        ([1, 2], list[int], True), ([1, 2.5], list[int], False), (3, list[int], False), ("ab", list[str], False),
        ([1, 2], tuple[int, ...], True), ([1, 2], tuple[int, int], True), ([1], tuple[int, int], False),
        ([1], Sequence[int], True), ([], list[int], True), ("a", Literal["a"], True), (True, Literal[1], False),
        ({"a": 1}, dict[str, int], True), (1, Any, True), (object(), dataclass, True),
    ],
)  # fmt: skip
def test_has_type_follows_the_annotation(value: Any, annotation: Any, expected: bool) -> None:
    assert has_type(value, annotation) is expected


def test_describe_type_uses_plain_words() -> None:
    assert describe_type(float | None) == "a number or null"
    assert describe_type(int | Literal["auto"]) == "a whole number or auto"
    assert describe_type(list[str]) == "a list of texts"


@dataclass
class Settings:
    n: int = 1
    device: Literal["cpu", "cuda"] = "cpu"
    names: list[str] | None = None


@pytest.mark.parametrize(
    ("key", "value", "end"),
    [
        ("n", 1e6, "got 1000000.0; write 1000000"),
        ("n", 1.5, "got 1.5"),
        ("device", "gpu", "got 'gpu'; did you mean cuda?"),
        ("names", "a", "got 'a'; write names=[a]"),
    ],
)
def test_wrong_type_is_answered_by_what_to_write(key: str, value: Any, end: str) -> None:
    with pytest.raises(UserError, match=f"{re.escape(end)}$"):
        convert(Settings, key, value, {key: (value, key)}, "")
