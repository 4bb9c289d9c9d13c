"""Equal rows: copies stay in one part of the split, coincidences of few values do not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import File
from ebm_cli.datasets.copies import Duplicates, copies_of, equal_rows
from ebm_cli.datasets.findings import Run
from ebm_cli.datasets.report import report
from ebm_cli.datasets.split import split
from tests.datasets.support import write
from tests.support import normal

TEN = normal(10, 2).float()
COPIED = TEN.repeat_interleave(200, 0)
"""200 copies of ten rows."""
WHOLE = (2 * normal(2000, 2)).round().float()
"""Whole numbers, which coincide by chance."""


def test_equal_rows_have_one_number() -> None:
    groups = equal_rows(torch.tensor([[0.0, 1.0], [1.0, 0.0], [-0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
    assert groups[0] == groups[2]
    assert groups[1] == groups[3]
    assert sorted(groups.unique().tolist()) == [0, 1, 2]


def test_different_rows_have_different_numbers() -> None:
    assert len(equal_rows(normal(100_000, 2).float()).unique()) == 100_000
    assert len(equal_rows(torch.cartesian_prod(*torch.arange(40.0).expand(3, 40))).unique()) == 40**3
    signs = 2 * (torch.arange(2**18)[:, None] >> torch.arange(18) & 1) - 1
    assert len(equal_rows(signs.float()).unique()) == 2**18


@pytest.mark.parametrize(
    ("rows", "is_grouped"),
    [(COPIED, True), (torch.cat((normal(500, 2).float(),) * 2), True), (WHOLE, False), (WHOLE[:, :1], False)],
    ids=["ten rows", "every row twice", "whole numbers", "one column of them"],
)
def test_copies_are_told_from_coincidences(rows: Tensor, is_grouped: bool) -> None:
    assert (copies_of(rows, "auto") is not None) == is_grouped
    assert copies_of(rows, "together") is not None
    assert copies_of(rows, "apart") is None


def test_parts_of_grouped_rows_share_no_row() -> None:
    groups = equal_rows(COPIED)
    parts = split(len(COPIED), 0.1, 0.2, groups=groups)
    assert [len(part) for part in parts] == [1400, 200, 400]
    assert sorted(torch.cat(parts).tolist()) == list(range(2000))
    assert sum(len(groups[part].unique()) for part in parts) == 10


def test_split_of_different_rows_is_the_same_with_groups() -> None:
    for grouped, plain in zip(split(50, 0.1, 0.2, groups=torch.arange(50)), split(50, 0.1, 0.2), strict=True):
        assert torch.equal(grouped, plain)


def test_each_part_keeps_a_group_of_any_size() -> None:
    groups = torch.tensor([0] * 90 + [1] * 5 + [2] * 5)
    for seed in range(5):
        parts = split(100, 0.1, 0.2, seed=seed, groups=groups)
        assert [len(groups[part].unique()) for part in parts] == [1, 1, 1]


def test_too_few_rows_for_training_are_refused() -> None:
    with pytest.raises(ValueError, match="copies=together leaves 1 of 9 rows"):
        split(9, 0.3, 0.3, groups=torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2]), seed=0)
    with pytest.raises(ValueError, match="only 2 different rows"):
        copies_of(torch.tensor([[0.0], [0.0], [1.0], [1.0]]), "together")


def test_report_counts_copies_on_both_sides(tmp_path: Path) -> None:
    path, run = write(tmp_path, "x.npy", COPIED.numpy()), Run("nce", keys=frozenset({"dataset.copies"}))
    (together,) = report(File(path), run)
    assert (
        together.fact
        == "1,990 of 2,000 rows repeat another one (10 are different), and equal rows are in one part of the split"
    )
    (apart,) = report(File(path, copies="apart"), run)
    assert "600 of 600 validation and test rows equal training rows" in apart.harm
    assert "dataset.copies=together" in apart.cure


def test_coincidences_are_no_copies_in_the_report(tmp_path: Path) -> None:
    data = File(write(tmp_path, "x.npy", WHOLE.numpy()))
    counted = data.duplicates()
    assert counted is not None
    assert counted == Duplicates(2000, len(np.unique(WHOLE.numpy(), axis=0)), 600, counted.unseen_copies, False)
    assert "equal training rows, as values repeat" in report(data, Run("nce"))[-1].fact
    assert report(File(data_path(tmp_path), noise_std=1.0), Run("nce")) == ()


def data_path(folder: Path) -> str:
    """The file that was written last."""
    return str(folder / "x.npy")
