"""Helpers that phrase errors as one line."""

import math

import pytest

from ebm_cli.errors import (
    LONGEST_LINE,
    describe,
    did_you_mean,
    first_line,
    memory_asked_for,
    require_positive,
)


def test_require_positive_accepts_positive_numbers_and_none() -> None:
    require_positive(step_size=1e-30, temperature=2, clamp=None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.0, "step_size must be > 0, got 0.0"),
        (-1, "step_size must be > 0, got -1"),
        (math.nan, "step_size must be > 0, got nan"),
        (math.inf, "step_size must be finite, got inf"),
    ],
)
def test_require_positive_names_the_value(value: float, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        require_positive(temperature=1.0, step_size=value)
    assert str(refused.value) == message


def test_did_you_mean_suggests_a_close_word() -> None:
    assert did_you_mean("methd", ["method", "energy"]) == "; did you mean method?"
    assert did_you_mean("NCE", ["dsm", "nce"]) == "; did you mean nce?"
    assert did_you_mean("qqqq", ["method", "energy"]) == ""
    assert did_you_mean("gpu", ["guard", "dtype"]) == ""


def test_first_line_skips_empty_lines_and_is_short() -> None:
    assert first_line(ValueError("\n  size mismatch:\n  layer 1")) == "size mismatch"
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError("x" * 1000)) == "x" * LONGEST_LINE


def test_describe_names_the_type_once() -> None:
    assert describe(RuntimeError("size mismatch")) == "RuntimeError: size mismatch"
    assert describe(RuntimeError()) == "RuntimeError"


def test_memory_is_read_from_the_sentences_of_libraries() -> None:
    torch_says = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000 bytes."
    cuda_says = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB"
    assert memory_asked_for(RuntimeError(torch_says)) == "8 GB"
    assert memory_asked_for(RuntimeError(cuda_says)) == "20 GiB"
    assert memory_asked_for(MemoryError("Unable to allocate 728. TiB for an array with shape (9, 9)")) == "728 TiB"
    assert memory_asked_for(MemoryError()) == "more memory"
    assert memory_asked_for(ValueError("n must be >= 1")) is None
