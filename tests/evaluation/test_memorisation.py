"""Memorisation: the ratio of distances to training rows is 1 for fresh data, 0 for copies, and large for noise."""

import pytest
import torch

from ebm_cli.datasets import Dataset, Digits, Synthetic
from ebm_cli.datasets.gaussian import Gaussian
from ebm_cli.evaluation.memorisation import ChunkSize, copying, epoch, nearest
from tests.evaluation.toys import rows_of
from tests.support import normal, seeded


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return Digits()


def test_fresh_data_have_a_ratio_of_one(digits: Dataset) -> None:
    fresh, held_out = rows_of(digits, "validation"), rows_of(digits, "test")
    found = copying(fresh, held_out, digits, seeded())
    assert abs(found.value - 1) < 5 * found.error
    assert found.error < 0.1


@pytest.mark.parametrize(("dequantise", "ratio"), [(False, 0.0), (True, 0.19)])
def test_training_rows_have_the_ratio_of_copies(dequantise: bool, ratio: float) -> None:
    """With dequantisation it is not 0: a copy has other noise than the row that it copies."""
    data = Digits(dequantise=dequantise)
    found = copying(data.reference, rows_of(data, "test"), data, seeded())
    assert found.value == pytest.approx(ratio, abs=0.02)


def test_ratio_is_that_of_the_median_distances() -> None:
    data = Digits(dequantise=False, n_train=500)
    fresh, held_out = (rows_of(data, part)[:100].flatten(1).double() for part in ("validation", "test"))
    near = [torch.cdist(x, data.reference.flatten(1).double()).amin(1).median() for x in (fresh, held_out)]
    chunk = ChunkSize(rows=100, numbers=2**22)
    found = copying(rows_of(data, "validation")[:100], rows_of(data, "test"), data, seeded(), chunk)
    assert found.value == pytest.approx(float(near[0] / near[1]), rel=1e-5)


def test_ratio_is_large_for_noise_and_small_for_mostly_copies(digits: Dataset) -> None:
    held_out = rows_of(digits, "test")
    noise = 2 * torch.rand(300, 1, 8, 8, generator=seeded()) - 1
    assert copying(noise, held_out, digits, seeded()).value > 2
    mostly = torch.cat((digits.reference[:120], rows_of(digits, "validation")[:60]))
    assert copying(mostly, held_out, digits, seeded()).value < 0.7


def test_standard_error_is_the_spread_of_the_ratio() -> None:
    """Over data sets of few rows of a normal distribution in three dimensions."""
    found = []
    for i in range(60):
        data = Synthetic(Gaussian(3), n_train=100, standardize=False, seed=i)
        fresh, held_out = data.validation(80), data.held_out(80)
        found.append(copying(fresh, held_out, data, seeded(i)))
    spread = float(torch.tensor([ratio.value for ratio in found]).std())
    stated = float(torch.tensor([ratio.error for ratio in found]).mean())
    assert stated == pytest.approx(spread, rel=0.4)


@pytest.mark.parametrize("numbers", [64 * 1258, 64 * 500, 64 * 2])
def test_an_epoch_has_every_training_row_once(numbers: int) -> None:
    data = Digits(dequantise=False, image=False)
    chunks = list(epoch(data, seeded(), ChunkSize(rows=2**14, numbers=numbers)))
    assert all(part.numel() <= numbers for part in chunks)
    assert (len(chunks) == 1) == (len(data.reference) * 64 <= numbers)
    served, all_rows = torch.cat(chunks), data.reference
    n_left_out = len(all_rows) - len(served)
    assert 0 <= n_left_out < len(chunks)
    distance = torch.cdist(all_rows, served, compute_mode="donot_use_mm_for_euclid_dist")
    assert int((distance.amin(1) > 0).sum()) <= n_left_out


def test_nearest_row_is_that_of_the_smallest_distance() -> None:
    rows = normal(20, 2, 3, seed=0)
    assert torch.equal(nearest(rows[[3, 7]] + 0.01, rows), rows[[3, 7]])


def test_training_rows_without_end_are_refused() -> None:
    data = Synthetic(Gaussian(3))
    with pytest.raises(ValueError, match=r"^training rows are never repeated"):
        copying(data.held_out(20), data.held_out(20), data, seeded())


def test_held_out_rows_that_were_trained_on_are_refused() -> None:
    data = Digits(dequantise=False, n_train=100)
    with pytest.raises(ValueError, match=r"^at least half of the held-out rows are training rows too, so that"):
        copying(rows_of(data, "test"), data.reference, data, seeded())
