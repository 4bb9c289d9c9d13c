"""Splits: every row is in one part, whichever sizes are asked for."""

from typing import Any

import pytest
import torch

from ebm_cli.datasets.split import split


@pytest.mark.parametrize("n", [4, 10, 997])
@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.2), (0.001, 0.001), (0.3, 0.2)])
def test_split_puts_every_row_into_one_part(n: int, validation: float, test: float):
    parts = split(n, validation, test)
    assert sorted(torch.cat(parts).tolist()) == list(range(n))
    assert len(parts.validation) == max(1, round(validation * n))
    assert len(parts.test) == max(1, round(test * n))


def test_split_keeps_published_test_rows_as_test_rows():
    parts = split(50, 0.1, None, n_train=20, seed=3, n_test=10)
    assert [len(part) for part in parts] == [20, 5, 10]
    assert sorted(parts.test.tolist()) == list(range(50, 60))
    assert parts.test.tolist() != sorted(parts.test.tolist())
    assert len({*parts.train.tolist(), *parts.validation.tolist()}) == 25
    assert max(*parts.train.tolist(), *parts.validation.tolist()) < 50


def test_split_depends_on_the_seed():
    a, again, other = (split(100, 0.1, 0.2, None, seed) for seed in (0, 0, 1))
    assert all(torch.equal(x, y) for x, y in zip(a, again, strict=True))
    assert not torch.equal(a.test, other.test)


def test_split_with_fewer_training_rows_keeps_the_other_parts():
    full, small = split(100, 0.1, 0.2), split(100, 0.1, 0.2, n_train=9)
    assert torch.equal(small.train, full.train[:9])
    assert torch.equal(small.validation, full.validation)
    assert torch.equal(small.test, full.test)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"test_fraction": 0.0}, r"test_fraction must be in \(0, 1\), got 0.0"),
        ({"test_fraction": 1.0}, r"test_fraction must be in \(0, 1\), got 1.0"),
        ({"validation_fraction": -0.1}, r"validation_fraction must be in \(0, 1\), got -0.1"),
        (
            {"validation_fraction": 0.5, "test_fraction": 0.5},
            "validation_fraction=0.5 and test_fraction=0.5 leave 0 of 50 rows",
        ),
        (
            {"validation_fraction": 0.9, "test_fraction": 0.9},
            "validation_fraction=0.9 and test_fraction=0.9 leave 0 of 50 rows",
        ),
        ({"n_train": 36}, "n_train must be <= 35"),
        ({"n_train": 1}, "n_train must be >= 2"),
        ({"n_train": 0}, "n_train must be >= 1 or null, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_split_refuses_a_number_out_of_range(keys: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        split(50, **{"validation_fraction": 0.1, "test_fraction": 0.2} | keys)
