"""Tables on which no likelihood has an upper bound: which columns, and what to do about them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.datasets.findings import Labels, Run
from ebm_cli.datasets.io.contents import ColumnWords
from ebm_cli.datasets.report import examine
from ebm_cli.datasets.unbounded import unbounded
from tests.support import normal

N = 500
X = normal(N, 3).float()
RUN = Run("nce", keys=frozenset({"dataset.drop", "dataset.dequantise", "dataset.noise_std"}))


def found(x: Tensor, names: tuple[str, ...] | None = ("a", "b", "c", "d")[: X.shape[1]], run: Run = RUN) -> str:
    std = x.double().flatten(1).std(0).float()
    findings = examine(x, torch.where(std > 0, std, torch.ones_like(std)), run, ColumnWords(names))
    return unbounded(findings, Labels(ColumnWords(names), "column" if x.ndim == 2 else "pixel"), run)


def with_last(values: Tensor | np.ndarray) -> Tensor:
    x = X.clone()
    x[:, 2] = torch.as_tensor(values).float()
    return x


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (torch.full((N,), 3.0), "column c is constant (3); set dataset.drop=c"),
        (3.0 + (torch.arange(N) < 3), "column c is nearly constant (3 in 99.4 % of the rows); set dataset.drop=c"),
        (X[:, 0], "column c is a copy of column a; set dataset.drop=c"),
        (2 - 3 * X[:, 0], "column c is a copy of column a; set dataset.drop=c"),
        (X[:, 0] + 2 * X[:, 1], "column c is a linear function of columns a and b; set dataset.drop=c"),
        (
            torch.where(torch.arange(N) % 4 == 0, X[:, 2], torch.zeros(N)),
            "half of the rows or more share a value of column c; set dataset.dequantise=gaussian",
        ),
        (X[:, 2] > 0, "half of the rows or more share a value of column c; set dataset.dequantise=true"),
    ],
    ids=["constant", "nearly", "equal", "scaled", "collinear", "dominant", "two"],
)
def test_columns_without_a_bound_are_named(values: Tensor, words: str) -> None:
    assert found(with_last(values)).startswith(words)


@pytest.mark.parametrize(
    "values",
    [
        X[:, 2],
        X[:, 0] + 1e-2 * X[:, 2],
        (10 * X[:, 2]).round(),
        torch.where(torch.arange(N) % 10 < 3, torch.zeros(N), X[:, 2]),
    ],
    ids=["normal", "near", "whole", "atom"],
)
def test_control_other_columns_are_not(values: Tensor) -> None:
    assert found(with_last(values)) == ""


def test_columns_to_drop_are_one_override() -> None:
    x = torch.cat((X, X[:, :1], torch.ones(N, 1)), 1)
    text = found(x, ("a", "b", "c", "d", "e"))
    assert text == "column e is constant (1) and column d is a copy of column a; set 'dataset.drop=[d,e]'"


def test_equal_columns_are_found_among_few_rows() -> None:
    few = torch.cat((X[:7], X[:7, :1]), 1)
    assert found(few, None) == "column 3 (counted from 0) is a copy of column 0 (counted from 0); set dataset.drop=3"
    assert found(X[:5], None) == ""


def test_constant_pixels_need_noise() -> None:
    pixels = (255 * torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(0))).round()
    pixels[:, 0, 0, 0] = 0.0
    assert found(pixels, None).endswith("set dataset.dequantise=true")
    assert "set dataset.noise_std=" in found(pixels / 255 + 0.1, None)
