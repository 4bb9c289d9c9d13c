"""Tables and digits that come with scikit-learn, and what every split and every serving has to do."""

import math

import numpy as np
import pytest
import sklearn.datasets
import torch
from torch import Tensor

from ebm_cli.datasets import Dataset, Digits, Table
from ebm_cli.datasets.finite import split
from tests.support import TINY, Ebm, seeded

TABLES = {"iris": (150, 4, 3), "wine": (178, 13, 3), "diabetes": (442, 10, None), "breast_cancer": (569, 30, 2)}


def rows_of(x: Tensor) -> list[tuple[float, ...]]:
    return sorted(tuple(row) for row in x.flatten(1).tolist())


# --- splits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 10, 997])
@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.2), (0.001, 0.001), (0.3, 0.2)])
def test_every_row_is_dealt_once(n: int, validation: float, test: float):
    parts = split(n, validation, test)
    assert sorted(torch.cat(parts).tolist()) == list(range(n))
    assert len(parts.validation) == max(1, round(validation * n))
    assert len(parts.test) == max(1, round(test * n))


def test_published_test_rows_stay_test_rows():
    parts = split(50, 0.1, None, n_train=20, seed=3, n_test=10)
    assert [len(part) for part in parts] == [20, 5, 10]
    assert sorted(parts.test.tolist()) == list(range(50, 60))
    assert parts.test.tolist() != sorted(parts.test.tolist())
    assert len({*parts.train.tolist(), *parts.validation.tolist()}) == 25
    assert max(*parts.train.tolist(), *parts.validation.tolist()) < 50


def test_the_seed_chooses_the_split_and_fewer_training_rows_move_no_other():
    a, again, other, small = (split(100, 0.1, 0.2, n, seed) for n, seed in ((None, 0), (None, 0), (None, 1), (9, 0)))
    assert all(torch.equal(x, y) for x, y in zip(a, again, strict=True))
    assert not torch.equal(a.test, other.test)
    assert torch.equal(small.train, a.train[:9])
    assert torch.equal(small.validation, a.validation)
    assert torch.equal(small.test, a.test)


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_scikit_learns_in_its_own_units(name: str):
    n_rows, n_columns, n_classes = TABLES[name]
    data: Dataset = Table(name, standardize=False)
    parts = [data.reference, data.validation(999), data.held_out(999)]
    load = getattr(sklearn.datasets, f"load_{name}")
    right = load(scaled=False) if name == "diabetes" else load()
    assert rows_of(torch.cat(parts)) == rows_of(torch.from_numpy(right.data).float())
    assert data.shape == (n_columns,)
    assert sum(map(len, parts)) == n_rows
    found = [data.labelled(part, 999) for part in ("train", "validation", "test")]
    if n_classes is None:
        assert found == [None] * 3
        return
    classes = {tuple(x): int(y) for x, y in zip(right.data.astype(np.float32).tolist(), right.target, strict=True)}
    for part, rows in zip(found, parts, strict=True):
        assert part is not None
        assert torch.equal(part.x, rows)
        assert part.labels.tolist() == [classes[tuple(row)] for row in rows.tolist()]
        assert set(part.labels.tolist()) == set(range(n_classes))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_standardised_over_its_training_rows(name: str):
    data = Table(name)
    u = data.reference
    torch.testing.assert_close(u.mean(0), torch.zeros_like(u[0]), atol=2e-5, rtol=0.0)
    torch.testing.assert_close(u.std(0), torch.ones_like(u[0]), atol=1e-4, rtol=0.0)


# --- digits -----------------------------------------------------------------------------------------------------------


def test_digits_are_images_or_points_of_the_same_numbers():
    image, flat = Digits(), Digits(image=False)
    assert image.shape == (1, 8, 8)
    assert flat.shape == (64,)
    assert torch.equal(image.held_out(50).flatten(1), flat.held_out(50))
    assert torch.equal(image.reference.flatten(1), flat.reference)
    assert torch.equal(image.standardizer.log_det, flat.standardizer.log_det)
    labelled = image.labelled("train", 2000)
    assert labelled is not None
    assert set(labelled.labels.tolist()) == set(range(10))


def test_digits_reach_from_minus_one_to_one_and_black_borders_stay_there():
    data = Digits(dequantise=False)
    assert (data.reference.min(), data.reference.max()) == (-1.0, 1.0)
    assert data.standardizer(data.held_out(400)).abs().max() <= 1.0
    constant = data.reference.flatten(1).std(0) == 0
    assert int(constant.sum()) >= 3
    noisy = Digits()
    u = noisy.batches(512, seeded()).next()
    assert u.abs().max() <= 1.0
    assert u.flatten(1).std(0).min() > 0.9 * math.sqrt(1 / 12) / 8.5, "no pixel is constant: sd of u is √(1/12) of 8.5"
    whole = {float(v) for v in noisy.held_out(300).floor().unique()}
    assert whole == set(map(float, range(17)))


def test_noise_on_digits_is_in_their_own_units():
    still, noisy = (Digits(dequantise=False, noise_std=s, standardize=False) for s in (0.0, 2.0))
    error = noisy.held_out(300) - still.held_out(300)
    assert abs(float(error.std()) - 2.0) < 5.0 * 2.0 / math.sqrt(2 * error.numel())


def test_rows_of_bytes_are_kept_as_bytes():
    data = Digits()
    assert isinstance(data._rows, Tensor)
    assert data._rows.dtype == torch.uint8
    assert data.double()._rows.dtype == torch.uint8
    assert data.held_out(2).dtype == torch.float64


# --- in a run ---------------------------------------------------------------------------------------------------------


def test_the_data_sets_are_listed(ebm: Ebm):
    listed = [line.split()[:1] for line in ebm("train", "--help").out.splitlines()]
    for name in (*TABLES, "digits", "mnist", "fashion_mnist", "cifar10", "file"):
        assert [name] in listed


def test_a_missing_file_is_one_line_before_anything_runs(ebm: Ebm, tmp_path):
    ran = ebm("train", "dataset=mnist")
    assert ran.code == 1
    assert ran.err.startswith("ebm: dataset.root data/mnist holds no train-images-idx3-ubyte.gz: put that of https://")
    assert len(ran.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["dataset=iris"], ["dataset=digits", "dataset.image=false"]])
def test_a_run_on_real_rows_ends(ebm: Ebm, words: list[str], monkeypatch: pytest.MonkeyPatch):
    from tests.support import no_pictures

    no_pictures(monkeypatch)
    ran = ebm("train", *TINY, *words, "steps=3", "metrics=[score]")
    assert (ran.code, ran.err) == (0, "")
