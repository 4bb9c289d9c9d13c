"""Tables that come with scikit-learn: their rows, classes and units."""

import numpy as np
import pytest
import sklearn.datasets
import torch

from ebm_cli.datasets import Dataset, Table
from tests.support import TINY, Ebm, no_pictures

TABLES = {"iris": (150, 4, 3), "wine": (178, 13, 3), "diabetes": (442, 10, None), "breast_cancer": (569, 30, 2)}


@pytest.mark.parametrize("name", TABLES)
def test_table_holds_scikit_learns_rows_and_classes(name: str):
    n_rows, n_columns, n_classes = TABLES[name]
    data: Dataset = Table(name, standardize=False)
    parts = [data.reference, data.validation(999), data.held_out(999)]
    load = getattr(sklearn.datasets, f"load_{name}")
    right = load(scaled=False) if name == "diabetes" else load()
    assert sorted(map(tuple, torch.cat(parts).tolist())) == sorted(
        map(tuple, torch.from_numpy(right.data).float().tolist())
    )
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
def test_table_is_standardised_over_its_training_rows(name: str):
    data = Table(name)
    u = data.reference
    torch.testing.assert_close(u.mean(0), torch.zeros_like(u[0]), atol=2e-5, rtol=0.0)
    torch.testing.assert_close(u.std(0), torch.ones_like(u[0]), atol=1e-4, rtol=0.0)


def test_train_help_lists_the_real_data_sets(ebm: Ebm):
    listed = [line.split()[:1] for line in ebm("train", "--help").out.splitlines()]
    for name in (*TABLES, "digits", "mnist", "fashion_mnist", "cifar10", "file"):
        assert [name] in listed


@pytest.mark.parametrize(
    "words", [pytest.param(["dataset=iris"], marks=pytest.mark.slow), ["dataset=digits", "dataset.image=false"]]
)
def test_train_finishes_on_real_rows(ebm: Ebm, words: list[str], monkeypatch: pytest.MonkeyPatch):
    no_pictures(monkeypatch)
    ran = ebm("train", *TINY, *words, "steps=3", "metrics=[score]")
    assert (ran.code, ran.err) == (0, "")
