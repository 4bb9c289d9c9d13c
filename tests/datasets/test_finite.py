"""Finitely many rows: standardised over the training rows, served with noise that is fresh or fixed."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Digits, File
from ebm_cli.datasets.finite import Finite
from ebm_cli.datasets.io.arrays import load_array
from ebm_cli.datasets.io.mapped import CHUNK_NUMBERS, MappedRows, Rows
from ebm_cli.datasets.split import split
from tests.datasets.support import ROWS, rows_of, take, write
from tests.support import normal, seeded


class OfRows(Finite):
    """A data set of given rows."""

    def __init__(self, rows: Rows, noise_std: float = 0.0) -> None:
        super().__init__(rows, split(len(rows), 0.1, 0.2), noise_std=noise_std)


def test_standardizer_is_fitted_on_training_rows_only(tmp_path: Path):
    data = File(write(tmp_path, "x.npy", 5.0 + 3.0 * ROWS))
    torch.testing.assert_close(data.reference.mean(0), torch.zeros(3), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(data.reference.std(0), torch.ones(3))
    assert data.standardizer(data.held_out(10)).mean(0).abs().max() > 1e-3


def test_nll_in_data_units_does_not_depend_on_the_units(tmp_path: Path):
    """−log N(x; m, s²) by hand, and through the standardizer with its Jacobian."""
    data = File(write(tmp_path, "x.npy", 5.0 + 3.0 * ROWS))
    x, normal = data.held_out(10), torch.distributions.Normal(0.0, 1.0)
    by_hand = torch.distributions.Normal(data.standardizer.mean, data.standardizer.scale).log_prob(x).sum(1)
    torch.testing.assert_close(normal.log_prob(data.standardizer(x)).sum(1) - data.standardizer.log_det, by_hand)


def test_fixed_rows_have_the_same_noise_at_every_call(tmp_path: Path):
    path = write(tmp_path, "x.npy", ROWS)
    noisy = File(path, noise_std=0.1, standardize=False)
    for fixed in (noisy.held_out, noisy.validation):
        assert torch.equal(fixed(10), fixed(10))
        assert torch.equal(fixed(3), fixed(10)[:3])
        assert not rows_of(fixed(10)) & rows_of(torch.from_numpy(ROWS))


def test_seed_and_n_train_choose_the_rows(tmp_path: Path):
    path = write(tmp_path, "x.npy", ROWS)
    assert torch.equal(File(path).held_out(5), File(path).held_out(10)[:5])
    assert not torch.equal(File(path).held_out(10), File(path, seed=1).held_out(10))
    assert File(path, n_train=7).reference.shape == (7, 3)


def test_float64_has_the_same_rows_and_noise(tmp_path: Path):
    data = File(write(tmp_path, "x.npy", ROWS), noise_std=0.1)
    before = data.held_out(10)
    after = data.double().held_out(10)
    assert after.dtype == data.reference.dtype == data.batches(5, seeded()).next().dtype == torch.float64
    torch.testing.assert_close(after.float(), before)


def test_rows_of_bytes_stay_bytes():
    data = Digits()
    assert isinstance(data._rows, Tensor)
    assert data._rows.dtype == torch.uint8
    assert data.double()._rows.dtype == torch.uint8
    assert data.held_out(2).dtype == torch.float64


def test_dequantisation_fills_the_cells_of_whole_numbers_only(tmp_path: Path):
    whole = np.random.default_rng(1).integers(-3, 4, size=(5000, 1))
    rows = np.concatenate([whole, np.random.default_rng(2).normal(size=(5000, 1))], axis=1)
    data = File(write(tmp_path, "x.npy", rows), dequantise=True, standardize=False)
    served = take(data.batches(3500, seeded()), 1)
    for x in (served, data.held_out(2000)):
        u = x[:, 0] - x[:, 0].floor()
        assert abs(float(u.mean()) - 0.5) < 5.0 * math.sqrt(1 / 12 / len(u))
        assert abs(float(u.var()) - 1 / 12) < 5.0 * math.sqrt(1 / 180 / len(u))
        assert {int(v) for v in x[:, 0].floor().unique()} == set(range(-3, 4))
        assert set(x[:, 1].tolist()) <= set(rows.astype(np.float32)[:, 1].tolist())
    assert torch.equal(data.held_out(100), data.held_out(1000)[:100])
    again = take(data.batches(3500, seeded(1)), 1)
    assert not rows_of(served) & rows_of(again), "fresh noise each time"
    assert {math.floor(v) for v in served[:, 0].tolist()} == {math.floor(v) for v in again[:, 0].tolist()}


@pytest.mark.parametrize(("noise_std", "has_jumps"), [(0.0, True), (0.1, False)])
def test_has_jumps_is_true_of_uniform_noise_alone(tmp_path: Path, noise_std: float, has_jumps: bool):
    path = write(tmp_path, "x.npy", np.arange(20).reshape(10, 2))
    assert File(path, dequantise=True, noise_std=noise_std).has_jumps is has_jumps
    assert File(path, noise_std=noise_std).has_jumps is False


def test_scale_includes_the_variance_of_the_noise(tmp_path: Path):
    """Var(n + u + 2 ε) = Var n + 1/12 + 4, and u moves the mean by a half."""
    rows = np.random.default_rng(1).integers(0, 9, size=(4000, 2))
    quiet, noisy = (File(write(tmp_path, "x.npy", rows), dequantise=bool(s), noise_std=s) for s in (0.0, 2.0))
    torch.testing.assert_close(noisy.standardizer.mean, quiet.standardizer.mean + 0.5)
    torch.testing.assert_close(noisy.standardizer.scale.square(), quiet.standardizer.scale.square() + 1 / 12 + 4.0)
    served = take(noisy.batches(2800, seeded()), 40)
    assert (served.mean(0).abs() < 5.0 / math.sqrt(2800 * 40) + 1e-3).all()
    assert ((served.var(0) - 1.0).abs() < 0.02).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_mapped_rows_are_served_like_rows_in_memory(dtype: type, tmp_path: Path):
    array = load_array(Path(write(tmp_path, "x.npy", (100 * ROWS).astype(dtype))), mapped_from=0)
    assert isinstance(array, np.memmap)
    mapped = OfRows(MappedRows(array), noise_std=0.1)
    read = OfRows(torch.from_numpy((100 * ROWS).astype(dtype).astype(np.float32)), noise_std=0.1)
    for a, b in [(read.held_out(9), mapped.held_out(9)), (read.reference, mapped.reference)]:
        assert torch.equal(a, b)
    assert torch.equal(take(read.batches(8, seeded()), 9), take(mapped.batches(8, seeded()), 9))


def test_mapped_rows_are_read_one_batch_at_a_time(monkeypatch: pytest.MonkeyPatch):
    data = OfRows(MappedRows(np.zeros((3 * CHUNK_NUMBERS // 10, 10), dtype=np.float32)))
    n_read: list[int] = []
    get = MappedRows.__getitem__

    def counted(rows: MappedRows, index: Tensor | slice) -> Tensor:
        found = get(rows, index)
        n_read.append(found.numel())
        return found

    monkeypatch.setattr(MappedRows, "__getitem__", counted)
    take(data.batches(64, seeded()), 20)
    assert n_read == [640] * 20


def test_robust_scale_is_not_moved_by_outliers(tmp_path: Path):
    """Median and quartiles of a normal column are its mean and standard deviation, with a row at 1e6, too."""
    x = 5.0 + 3.0 * normal(4000, 2).float().numpy()
    x[::400, 0] = 1e6
    data = File(write(tmp_path, "x.npy", x), standardize="robust")
    torch.testing.assert_close(data.standardizer.mean, torch.full((2,), 5.0), atol=0.3, rtol=0.0)
    torch.testing.assert_close(data.standardizer.scale, torch.full((2,), 3.0), atol=0.3, rtol=0.0)
    assert File(write(tmp_path, "x.npy", x)).standardizer.scale[0] > 1e4


def test_robust_scale_leaves_far_rows_out_of_all_parts(tmp_path: Path):
    x = normal(1000, 2).float().numpy()
    x[::50, 0] = 1e6
    path = write(tmp_path, "x.npy", x)
    plain, data = File(path), File(path, standardize="robust")
    assert data.left_out == (20, (0,))
    for part in (data.training_rows, data.validation, data.held_out):
        assert part(1000)[:, 0].abs().max() < 10
    kept = plain.held_out(1000)
    assert torch.equal(data.held_out(1000), kept[kept[:, 0] < 10])
    assert File(write(tmp_path, "y.npy", ROWS), standardize="robust").left_out == (0, ())


def test_robust_scale_contains_the_noise(tmp_path: Path):
    x = normal(4000, 1).float().numpy()
    data = File(write(tmp_path, "x.npy", x), standardize="robust", noise_std=1.0)
    assert float(data.standardizer.scale) == pytest.approx(math.sqrt(2), rel=0.05)


def test_robust_scale_of_a_frequent_value_is_that_of_others(tmp_path: Path):
    x = np.where(np.arange(4000) % 5 < 4, 0.0, normal(4000, 1)[:, 0].numpy()).astype(np.float32)
    data = File(write(tmp_path, "x.npy", x[:, None]), standardize="robust")
    assert float(data.standardizer.scale) == pytest.approx(1.0, rel=0.15)


def test_gaussian_noise_is_half_a_step_on_tied_columns(tmp_path: Path):
    x = normal(3000, 3).numpy()
    x[:, 0], x[:, 1] = np.round(2 * x[:, 0]), np.round(x[:, 1] * 5) / 5
    path = write(tmp_path, "x.npy", x.astype(np.float32))
    plain, noisy = File(path, standardize=False), File(path, standardize=False, dequantise="gaussian")
    noise = noisy.training_rows(2100) - plain.training_rows(2100)
    torch.testing.assert_close(noise.std(0), torch.tensor([0.5, 0.1, 0.0]), rtol=0.05, atol=0.0)
    assert not noisy.has_jumps
    scale = noisy.training_rows(2100).std(0)
    torch.testing.assert_close(File(path, dequantise="gaussian").standardizer.scale, scale, rtol=0.01, atol=0.0)


def test_gaussian_noise_needs_a_column_with_ties(tmp_path: Path):
    with pytest.raises(ValueError, match="no column holds whole or rounded numbers"):
        File(write(tmp_path, "x.npy", ROWS), dequantise="gaussian")
